"""`viewer-consumer state`: list, show, check and reset the stored state of partitions."""

# ruff: noqa: PLC0415  # what a command needs is imported inside it, so that `--help` answers at once

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli.options import Config, Overrides, read_kafka_settings, timeouts_of
from consumer.errors import ViewerConsumerError

if TYPE_CHECKING:
    from consumer.state.reset import From

state_app = typer.Typer(
    name="state", help="List, show, check or reset the stored state of partitions.", no_args_is_help=False
)

Partitions = Annotated[
    list[int] | None, typer.Option("--partition", "-p", min=0, metavar="N", help="Only this one; may be repeated.")
]
AsJson = Annotated[bool, typer.Option("--json", help="A JSON object a line rather than text.")]


class Start(StrEnum):
    """Where a partition continues after a reset."""

    COMMITTED = "committed"
    EARLIEST = "earliest"
    LATEST = "latest"


@state_app.command("list")
def list_state(
    context: typer.Context,
    config: Config = None,
    overrides: Overrides = None,
    partitions: Partitions = None,
    as_json: AsJson = False,
) -> None:
    """List checkpoints, offsets and sizes by partition."""
    settings = read_kafka_settings(config, overrides)
    from consumer.cli.state_text import print_list
    from consumer.state.inspect import opened, read_stored

    with opened(settings, partitions or (), timeouts_of(context)) as view:
        print_list(read_stored(view.state, view.partitions), as_json=as_json)


@state_app.command()
def show(
    context: typer.Context,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="Its id.")],
    config: Config = None,
    overrides: Overrides = None,
    partitions: Partitions = None,
    as_json: AsJson = False,
) -> None:
    """Show a stream as of the checkpoint of its partition."""
    settings = read_kafka_settings(config, overrides)
    from consumer.cli.state_text import print_stream
    from consumer.state.inspect import find_stream, opened

    found = 0
    with opened(settings, partitions or (), timeouts_of(context)) as view:
        for each in find_stream(view, settings, stream):
            print_stream(each, as_json=as_json)
            found += 1
    if not found:
        raise ViewerConsumerError(f'no checkpoint holds stream "{stream}": it is gone, or newer than the checkpoint')


@state_app.command()
def check(
    context: typer.Context,
    config: Config = None,
    overrides: Overrides = None,
    partitions: Partitions = None,
    as_json: AsJson = False,
) -> None:
    """Check that rows, checkpoint, journal, offsets and settings agree; exit code 1 if not."""
    settings = read_kafka_settings(config, overrides)
    from consumer.cli.state_text import print_consistency_report
    from consumer.state.inspect import opened, read_stored
    from consumer.state.report import consistency_report

    fine = True
    with opened(settings, partitions or (), timeouts_of(context)) as view:
        for stored in read_stored(view.state, view.partitions):
            found = consistency_report(stored, settings, view.identity)
            print_consistency_report(stored, found, settings.command, as_json=as_json)
            fine = fine and not found.disagreements
    if not fine:
        raise typer.Exit(1)


@state_app.command()
def reset(
    context: typer.Context,
    config: Config = None,
    overrides: Overrides = None,
    partitions: Partitions = None,
    start: Annotated[
        Start, typer.Option("--from", help="Where the partitions continue, with empty windows.")
    ] = Start.COMMITTED,
    keep_rows: Annotated[
        bool, typer.Option("--keep-rows", help="Keep the windows, and continue at the log start of the input.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Delete the state of partitions, or move it to the log start; the group must have no members."""
    settings = read_kafka_settings(config, overrides)
    from consumer.cli.state_text import reset_result, reset_warning
    from consumer.state.inspect import opened
    from consumer.state.reset import reset_partitions, reset_plans

    with opened(settings, partitions or (), timeouts_of(context)) as view:
        where: From = "keep-rows" if keep_rows else start.value
        plans = reset_plans(view.state, view.partitions, where)
        for line in reset_warning(plans, where):
            typer.echo(line, err=True)
        if not yes and not _confirmed("Move it?" if keep_rows else "Delete it?"):
            raise ViewerConsumerError("nothing was changed")
        for plan in reset_partitions(view, settings, plans, where):
            typer.echo(reset_result(plan))


def _confirmed(asked: str) -> bool:
    """Ask on stderr; typer's own prompt writes to stdout, which is for data."""
    typer.echo(f"{asked} [y/N] ", nl=False, err=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
