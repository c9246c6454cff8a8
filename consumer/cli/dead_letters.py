"""`viewer-consumer dlq`: list, count and show dead letters."""

# ruff: noqa: PLC0415  # what a command needs is imported inside it, so that `--help` answers at once

from typing import Annotated

import typer

from consumer.cli.options import Config, Overrides, read_kafka_settings, timeouts_of

dlq_app = typer.Typer(name="dlq", help="List and show dead letters: records that were rejected.", no_args_is_help=False)


@dlq_app.command("list")
def list_dead_letters(
    context: typer.Context,
    config: Config = None,
    overrides: Overrides = None,
    reasons: Annotated[
        list[str] | None, typer.Option("--reason", metavar="REASON", help="Of this reason; may be repeated.")
    ] = None,
    partitions: Annotated[
        list[int] | None,
        typer.Option("--partition", min=0, metavar="N", help="From this input partition; may be repeated."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Written from then on, as 2026-01-31T20:15:00Z or in ms."),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Written before then.")] = None,
    most: Annotated[int | None, typer.Option("--most", min=1, metavar="N", help="End after so many.")] = None,
    count: Annotated[bool, typer.Option("--count", help="Count them by reason and partition instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON lines rather than text.")] = False,
) -> None:
    """List dead letters: where each is, when and why it was rejected, and where it came from."""
    settings = read_kafka_settings(config, overrides)
    from consumer.cli.dead_letter_text import known_reasons, print_dead_letters
    from consumer.kafka.admin.dead_letters import DeadLetters
    from consumer.output.dead_letter_reader import DeadLetterFilter
    from consumer.runtime.durations import parse_time_ms

    wanted = DeadLetterFilter(
        reasons=known_reasons(reasons or ()),
        partitions=frozenset(partitions or ()),
        since_ms=None if since is None else parse_time_ms("--since", since),
        until_ms=None if until is None else parse_time_ms("--until", until),
    )
    source = DeadLetters(settings.kafka, timeouts_of(context))
    print_dead_letters(source, wanted, typer.echo, most=most, count=count, json_lines=as_json)


@dlq_app.command("show")
def show_dead_letter(
    context: typer.Context,
    place: Annotated[str, typer.Argument(metavar="PLACE", help="Partition and offset as a list has them, as 3:17.")],
    config: Config = None,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON rather than text.")] = False,
) -> None:
    """Show one dead letter with its headers, its key and its value."""
    settings = read_kafka_settings(config, overrides)
    from consumer.cli.dead_letter_text import print_dead_letter
    from consumer.kafka.admin.dead_letters import DeadLetters

    source, list_command = DeadLetters(settings.kafka, timeouts_of(context)), settings.command("dlq list")
    print_dead_letter(source, place, typer.echo, list_command, as_json_line=as_json)
