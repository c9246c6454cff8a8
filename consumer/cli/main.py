"""The commands: each reads its settings, hands over to a module that does the work, and ends with an exit code.

stdout is data, stderr is for people. Exit codes: 0 ok, 1 failed, 2 usage or configuration error, 130 interrupted. Each
command imports what it needs inside its function, so that `--help` and `config` answer at once.
"""

# ruff: noqa: PLC0415  # see above

import json
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from consumer import __version__
from consumer.cli.dead_letters import dlq_app
from consumer.cli.options import Config, Overrides, read_kafka_settings, read_settings
from consumer.cli.state import state_app
from consumer.errors import UsageError, ViewerConsumerError

INTERRUPTED = 130
"""What a shell reports of a process that SIGINT ended."""

READER_GONE = 1
"""As typer has it, where a command finds out before its end that nobody reads stdout any more."""

app = typer.Typer(
    name="viewer-consumer",
    help="Viewer events of live video in, one exact summary for every closed bucket out.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(dlq_app)
app.add_typer(state_app)


class LogLevel(StrEnum):
    """The least that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class AtEnd(StrEnum):
    """What becomes of the buckets that are open when the files end."""

    CLOSE = "close"
    KEEP = "keep"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"viewer-consumer {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _asked: Annotated[  # its callback does the work
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hold the options that stand before a command."""


@app.command()
def run(
    config: Config = None,
    overrides: Overrides = None,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="As --demo, with a broker in this process rather than on yours.")
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Bring a simulated audience, and show the busiest streams live.")
    ] = False,
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="SPAN", help="Of a demo: end after 90s, 10m, 2h.")
    ] = None,
    log_level: Annotated[LogLevel, typer.Option("--log-level", help="The least that is logged.")] = LogLevel.INFO,
) -> None:
    """Run the worker until SIGTERM or Ctrl-C."""
    settings = read_kafka_settings(config, overrides)
    from consumer.runtime.durations import parse_span_ms

    duration_s = None if duration is None else parse_span_ms("--duration", duration) / 1000
    if duration_s is not None and not (embedded or demo):
        raise UsageError("--duration: is for --embedded and --demo; a worker runs until it is stopped")
    from rich.console import Console

    from consumer.observe.logs import set_up_logs
    from consumer.runtime.signals import stop_on_signals

    set_up_logs(log_level, sys.stderr, os.environ)
    with stop_on_signals() as stop:
        if embedded or demo:
            from consumer.demo.run import run_demo

            run_demo(settings, stop, Console(stderr=True), embedded=embedded, duration_s=duration_s)
        else:
            from consumer.worker.service import Service

            Service(settings).run(stop)


@app.command()
def aggregate(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Avro containers or JSON lines; - is JSON lines from stdin.")
    ],
    config: Config = None,
    overrides: Overrides = None,
    view: Annotated[
        Path | None, typer.Option("--view", metavar="FILE", help="Write the window view of every stream as JSON.")
    ] = None,
    at_end: Annotated[
        AtEnd, typer.Option("--at-end", help="What becomes of the buckets that are still open at the end.")
    ] = AtEnd.CLOSE,
) -> None:
    """Run the engine over files, without Kafka: one JSON object a summary on stdout."""
    settings = read_settings(config, overrides)
    from consumer.aggregate import aggregate_files

    aggregate_files(settings, files, view_path=view, close_at_end=at_end is AtEnd.CLOSE)


@app.command()
def simulate(
    config: Config = None,
    overrides: Overrides = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="FILE", help="A file (.avro, .jsonl), or - for stdout.", show_default="input topic"
        ),
    ] = None,
    streams: Annotated[int, typer.Option("--streams", min=1, help="Streams on the air.")] = 300,
    viewers: Annotated[int, typer.Option("--viewers", min=1, help="Viewers at the same time, about.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same events.")] = 1,
    start: Annotated[
        str | None,
        typer.Option("--start", metavar="TIME", help="Event time of the beginning, as 2026-01-31T20:15:00Z or in ms."),
    ] = None,
    history: Annotated[
        str, typer.Option("--history", metavar="SPAN", help="Begin so long ago and catch up, as 90s, 10m, 2h.")
    ] = "0s",
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="SPAN", help="Length in event time, as 90s, 10m, 2h.")
    ] = None,
    events: Annotated[int | None, typer.Option("--events", min=1, help="End after so many events.")] = None,
    speed: Annotated[
        float | None,
        typer.Option(
            "--speed", min=0, help="Event time by wall time; 0 is as fast as can be.", show_default="1, or 0 to a file"
        ),
    ] = None,
    loss: Annotated[float, typer.Option("--loss", min=0, max=1, help="Share of events that are lost.")] = 0.0,
    leave_loss: Annotated[
        float, typer.Option("--leave-loss", min=0, max=1, help="Share of leaves that are lost besides.")
    ] = 0.0,
    duplicates: Annotated[
        float, typer.Option("--duplicates", min=0, max=1, help="Share of events that arrive twice.")
    ] = 0.0,
    disorder: Annotated[
        float, typer.Option("--disorder", min=0, max=1, help="Share of events that are delayed.")
    ] = 0.0,
    disorder_ms: Annotated[int, typer.Option("--disorder-ms", min=0, help="The longest delay.")] = 5_000,
    clock_skew_ms: Annotated[
        int, typer.Option("--clock-skew-ms", min=0, help="How wrong the viewers' clocks may be.")
    ] = 0,
    schema_id: Annotated[int, typer.Option("--schema-id", min=0, help="Registry id before each record.")] = 1,
) -> None:
    """Send a seeded audience's events to the input topic or to a file."""
    settings = read_settings(config, overrides)
    from rich.console import Console

    from consumer.runtime.durations import parse_span_ms, parse_time_ms
    from consumer.runtime.signals import stop_on_signals
    from consumer.simulate.noise import NoiseRules
    from consumer.simulate.options import SimulateOptions
    from consumer.simulate.programme import Cast
    from consumer.simulate.run import WallClock
    from consumer.simulate.run import simulate as run_simulation

    options = SimulateOptions(
        out=to,
        seed=seed,
        cast=Cast(streams=streams, viewers=viewers),
        noise=NoiseRules(loss, leave_loss, duplicates, disorder, max_delay_ms=disorder_ms, max_skew_ms=clock_skew_ms),
        start_ms=None if start is None else parse_time_ms("--start", start),
        history_ms=parse_span_ms("--history", history),
        duration_ms=None if duration is None else parse_span_ms("--duration", duration),
        max_events=events,
        speed=speed,
        schema_id=schema_id,
    )
    with stop_on_signals() as stop:
        report = run_simulation(options, settings, WallClock(stop), Console(stderr=True))
    typer.echo(report.line, err=True)
    if stop.is_set():
        raise typer.Exit(INTERRUPTED)


@app.command("config")
def show_config(
    config: Config = None,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON rather than TOML.")] = False,
) -> None:
    """Check the settings in force and print them, secrets hidden."""
    settings = read_kafka_settings(config, overrides)
    from consumer.cli.settings_text import shown, to_toml

    values = shown(settings)
    typer.echo(json.dumps(values, indent=2, ensure_ascii=False) if as_json else to_toml(values), nl=as_json)


@app.command()
def topics(
    config: Config = None,
    overrides: Overrides = None,
    check: Annotated[bool, typer.Option("--check", help="Only look; create nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON rather than text.")] = False,
) -> None:
    """Check the topics, and create those of ours that are missing."""
    settings = read_kafka_settings(config, overrides)
    from consumer.kafka.admin.topics import check_topics

    kafka = settings.kafka.model_copy(update={"create_topics": False}) if check else settings.kafka
    for topic in check_topics(kafka).topics:
        state = "created" if topic.created else "found"
        line = f"{topic.role} topic {topic.name}: {topic.partitions} partitions, {state}"
        typer.echo(json.dumps(topic._asdict(), ensure_ascii=False) if as_json else line)
        for warning in topic.warnings:
            typer.echo(f"warning: {warning}", err=True)


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors are lines on stderr."""
    command = typer.main.get_command(app)
    try:
        code = command.main(list(arguments), prog_name="viewer-consumer", standalone_mode=False)
        sys.stdout.flush()
    except ViewerConsumerError as error:
        _say(str(error))
        return error.exit_code
    except TyperException as error:
        _say(_one_line(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read stdout has gone; the interpreter must not flush into it again while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    return code if isinstance(code, int) else 0


def _one_line(error: TyperException) -> str:
    """Return the usage error and the command whose help explains it."""
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message}; see {context.command_path} --help" if context else message


def _say(message: str) -> None:
    for line in message.splitlines():
        print(f"error: {line}", file=sys.stderr)  # noqa: T201  # stderr is where people look


def main() -> None:
    """Be the `viewer-consumer` command."""
    sys.exit(run_command(sys.argv[1:]))
