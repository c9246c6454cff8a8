"""`viewer-consumer dlq`: list, count, show and export dead letters, and send them to the input again."""

# ruff: noqa: PLC0415  # what a command needs is imported inside it, so that `--help` answers at once

from pathlib import Path
from typing import Annotated

import typer

from consumer.cli.options import Config, Overrides, read_kafka_settings, read_worker_settings, timeouts_of
from consumer.errors import UsageError

dlq_app = typer.Typer(
    name="dlq", help="List, show and send again dead letters: records that were rejected.", no_args_is_help=False
)

Places = Annotated[
    list[str] | None,
    typer.Argument(metavar="PLACE", help="Only these: partition and offset as a list has them, as 3:17."),
]
Reasons = Annotated[
    list[str] | None, typer.Option("--reason", metavar="REASON", help="Of this reason; may be repeated.")
]
Partitions = Annotated[
    list[int] | None,
    typer.Option("--partition", min=0, metavar="N", help="From this input partition; may be repeated."),
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Written from then on, as 2026-01-31T20:15:00Z or in ms.")
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Written before then.")]
Most = Annotated[int | None, typer.Option("--most", min=1, metavar="N", help="End after so many.")]
Overwrite = Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")]


@dlq_app.command("list")
def list_dead_letters(
    context: typer.Context,
    places: Places = None,
    config: Config = None,
    overrides: Overrides = None,
    reasons: Reasons = None,
    partitions: Partitions = None,
    since: Since = None,
    until: Until = None,
    most: Most = None,
    count: Annotated[bool, typer.Option("--count", help="Count them by reason and partition instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON lines rather than text.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Export: write JSON lines to this file; - is stdout."),
    ] = None,
    force: Overwrite = False,
) -> None:
    """List dead letters: where each is, when and why it was rejected, and where it came from."""
    settings = read_kafka_settings(config, overrides)
    if output is not None and count:
        raise UsageError("--output: exports dead letters, so it does not go with --count")
    from consumer.cli.dead_letter_text import choice_of, export_dead_letters, print_dead_letters
    from consumer.kafka.admin.dead_letters import DeadLetters

    choice = choice_of(reasons, partitions, since, until, most, places)
    source, list_command = DeadLetters(settings.kafka, timeouts_of(context)), settings.command("dlq list")
    if output is None:
        print_dead_letters(source, choice, typer.echo, list_command, count=count, json_lines=as_json)
        return
    written = export_dead_letters(source, choice, output, list_command, force=force)
    typer.echo(f"{output}: {written:,} dead letters", err=True)


@dlq_app.command("show")
def show_dead_letter(
    context: typer.Context,
    place: Annotated[str, typer.Argument(metavar="PLACE", help="Partition and offset as a list has them, as 3:17.")],
    config: Config = None,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON rather than text.")] = False,
    value: Annotated[
        Path | None,
        typer.Option("--value", metavar="FILE", help="Write its value as it is to this file instead; - is stdout."),
    ] = None,
    force: Overwrite = False,
) -> None:
    """Show one dead letter with its headers, its key and its value."""
    settings = read_kafka_settings(config, overrides)
    from consumer.cli.dead_letter_text import print_dead_letter, write_value
    from consumer.kafka.admin.dead_letters import DeadLetters

    source, list_command = DeadLetters(settings.kafka, timeouts_of(context)), settings.command("dlq list")
    if value is None:
        print_dead_letter(source, place, typer.echo, list_command, as_json_line=as_json)
    else:
        write_value(source, place, value, list_command, force=force)


@dlq_app.command("retry")
def retry_dead_letters(
    context: typer.Context,
    places: Places = None,
    config: Config = None,
    overrides: Overrides = None,
    reasons: Reasons = None,
    partitions: Partitions = None,
    since: Since = None,
    until: Until = None,
    most: Most = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Send them; else only say what would be sent.")] = False,
    now: Annotated[
        bool, typer.Option("--now", help="With the time of sending, not their own Kafka timestamp.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Also those that were sent again before.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also those that will not count: their bucket is closed, or still invalid.")
    ] = False,
) -> None:
    """Send dead letters to the input again, to the partition they came from; without --yes, say what would be sent.

    Refused are those that a worker with these settings would drop or reject. They stay in the dead-letter topic: sent
    twice, a record counts twice. The exit code is 1 if not all of them were sent.
    """
    settings = read_worker_settings(config, overrides)
    from consumer.cli.dead_letter_retry import Wishes
    from consumer.cli.dead_letter_retry import retry_dead_letters as retry
    from consumer.cli.dead_letter_text import choice_of
    from consumer.runtime.signals import stop_on_signals

    choice = choice_of(reasons, partitions, since, until, most, places)
    with stop_on_signals() as stop:
        code = retry(settings, choice, Wishes(yes, now, again, force), timeouts_of(context), stop)
    if code:
        raise typer.Exit(code)
