"""Help texts: an example for every command, `-h`, `help`, and help where a command is missing."""

from collections.abc import Mapping, Sequence
from typing import Any

HELP_OPTIONS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Context settings of the whole command line."""

EXAMPLES: Mapping[str, Sequence[str]] = {
    "": (
        "viewer-consumer run --embedded",
        "viewer-consumer run --config worker.toml",
        "viewer-consumer help dlq list",
    ),
    "run": (
        "viewer-consumer run --config worker.toml",
        "viewer-consumer run --config worker.toml --watch",
        "viewer-consumer run --set kafka.bootstrap_servers=kafka-1:9092 --set input.schema_registry_url=http://registry:8081",
        "viewer-consumer run --embedded --duration 30s",
    ),
    "aggregate": (
        "viewer-consumer aggregate events.jsonl > summaries.jsonl",
        "viewer-consumer aggregate day-1.avro day-2.avro --config worker.toml",
        "viewer-consumer aggregate events.jsonl.gz --output-format table",
        "viewer-consumer simulate --to - --duration 2m | viewer-consumer aggregate -",
    ),
    "simulate": (
        "viewer-consumer simulate --config worker.toml --duration 2m --speed 0",
        "viewer-consumer simulate --to events.jsonl --duration 10m --streams 20 --viewers 200",
        "viewer-consumer simulate --to - --duration 1m --leave-loss 0.1 --clock-skew 5s",
    ),
    "config": (
        "viewer-consumer config --config worker.toml",
        "viewer-consumer config --config worker.toml --set windows.bucket_ms=5s --json",
        "viewer-consumer config --example > worker.toml",
    ),
    "schema": (
        "viewer-consumer schema event.avsc --config worker.toml",
        "viewer-consumer schema event.avsc --config worker.toml --record events.jsonl",
        "viewer-consumer schema events.avro --set input.fields.stream_id=content.id",
    ),
    "topics": (
        "viewer-consumer topics --config worker.toml",
        "viewer-consumer topics --config worker.toml --check --json",
    ),
    "health": (
        "viewer-consumer health",
        "viewer-consumer health --config worker.toml --set http.port=9465",
    ),
    "top": (
        "viewer-consumer top",
        "viewer-consumer top --url http://worker-0:9464 --url http://worker-1:9464",
    ),
    "help": ("viewer-consumer help", "viewer-consumer help state reset"),
    "dlq": (
        "viewer-consumer dlq list --config worker.toml --count",
        "viewer-consumer dlq show 3:17 --config worker.toml",
        "viewer-consumer dlq retry --config worker.toml --since 2026-01-31T20:15:00Z",
    ),
    "dlq list": (
        "viewer-consumer dlq list --config worker.toml --since 2026-01-31T20:15:00Z --reason future",
        "viewer-consumer dlq list --config worker.toml --partition 3 --most 10 --json",
        "viewer-consumer dlq list --config worker.toml --output dead-letters.jsonl",
    ),
    "dlq show": (
        "viewer-consumer dlq show 3:17 --config worker.toml",
        "viewer-consumer dlq show 3:17 --config worker.toml --value record.avro",
    ),
    "dlq retry": (
        "viewer-consumer dlq retry --config worker.toml --reason missing_value --since 2026-01-31T20:15:00Z",
        "viewer-consumer dlq retry --config worker.toml --reason missing_value --since 2026-01-31T20:15:00Z --yes",
        "viewer-consumer dlq retry 3:17 3:18 --config worker.toml --yes",
    ),
    "state": (
        "viewer-consumer state check --config worker.toml",
        "viewer-consumer state show channel-0001 --config worker.toml",
    ),
    "state list": ("viewer-consumer state list --config worker.toml --partition 3",),
    "state show": ("viewer-consumer state show channel-0001 --config worker.toml --json",),
    "state check": ("viewer-consumer state check --config worker.toml",),
    "state reset": (
        "viewer-consumer state reset --config worker.toml --partition 3",
        "viewer-consumer state reset --config worker.toml --partition 3 --from latest --yes",
    ),
}
"""By the words of the command."""


def with_help(command: Any, path: str = "") -> Any:
    """Add the examples to a command and to those below it, and hide the types of arguments; return the command.

    Called once for a command line, before it is parsed.
    """
    if path in EXAMPLES:
        command.epilog = "\b\nExamples:\n" + "\n".join(f"  {example}" for example in EXAMPLES[path])
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            parameter.display_type_rich = _no_type
    for name, below in getattr(command, "commands", {}).items():
        with_help(below, f"{path} {name}".strip())
    return command


def _no_type(*_context: Any, **_more: Any) -> None:
    """The name of an argument says it."""


def with_help_for_bare_groups(command: Any, arguments: Sequence[str]) -> list[str]:
    """Ask for help where the words name no command, but several: `viewer-consumer`, `viewer-consumer dlq`."""
    here = command
    for word in arguments:
        here = getattr(here, "commands", {}).get(word)
        if here is None:
            return list(arguments)
    return [*arguments, "--help"] if hasattr(here, "commands") else list(arguments)


def help_of(command: Any, context: Any, words: Sequence[str]) -> str | None:
    """Return the help of the command that these words name; None if there is none."""
    for word in words:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            return None
        context = command.context_class(command, info_name=word, parent=context, **command.context_settings)
    return str(command.get_help(context))
