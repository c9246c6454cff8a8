"""`viewer-consumer state`: what is stored of the partitions, looked at, checked, and forgotten where that is wanted."""

# ruff: noqa: PLC0415  # what a command needs is imported inside it, so that `--help` answers at once

import sys
from enum import StrEnum
from typing import Annotated

import typer

from consumer.cli.options import Config, Overrides, read_kafka_settings
from consumer.errors import ViewerConsumerError

state_app = typer.Typer(
    name="state", help="List, show, check or reset the stored state of partitions.", no_args_is_help=False
)

Partitions = Annotated[
    list[int] | None, typer.Option("--partition", "-p", min=0, metavar="N", help="Only this one; may be repeated.")
]
AsJson = Annotated[bool, typer.Option("--json", help="A JSON object a line rather than text.")]


class Start(StrEnum):
    """Where a partition goes on after its state was forgotten."""

    COMMITTED = "committed"
    EARLIEST = "earliest"
    LATEST = "latest"


@state_app.command("list")
def list_state(
    config: Config = None, overrides: Overrides = None, partitions: Partitions = None, as_json: AsJson = False
) -> None:
    """List checkpoints, offsets and sizes by partition."""
    settings = read_kafka_settings(config, overrides)
    from consumer.cli.state_text import print_list
    from consumer.state.inspect import opened, read_stored

    with opened(settings, partitions or ()) as view:
        print_list(read_stored(view.state, view.partitions), as_json=as_json)


@state_app.command()
def show(
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="Its id.")],
    config: Config = None,
    overrides: Overrides = None,
    partitions: Partitions = None,
    as_json: AsJson = False,
) -> None:
    """Show a stream as the checkpoint of its partition has it."""
    settings = read_kafka_settings(config, overrides)
    from consumer.cli.state_text import print_stream
    from consumer.state.inspect import find_stream, opened

    found = 0
    with opened(settings, partitions or ()) as view:
        for each in find_stream(view, settings, stream):
            print_stream(each, as_json=as_json)
            found += 1
    if not found:
        raise ViewerConsumerError(f'no checkpoint holds stream "{stream}"; it was forgotten, or began after it')


@state_app.command()
def check(
    config: Config = None, overrides: Overrides = None, partitions: Partitions = None, as_json: AsJson = False
) -> None:
    """Check that rows, checkpoint, journal, offsets and settings agree; 1 where they don't."""
    settings = read_kafka_settings(config, overrides)
    from consumer.cli.state_text import print_findings
    from consumer.state.inspect import opened, read_stored
    from consumer.state.report import findings

    fine = True
    with opened(settings, partitions or ()) as view:
        for stored in read_stored(view.state, view.partitions):
            found = findings(stored, settings, view.identity)
            print_findings(stored, found, as_json=as_json)
            fine = fine and not found.disagreements
    if not fine:
        raise typer.Exit(1)


@state_app.command()
def reset(
    config: Config = None,
    overrides: Overrides = None,
    partitions: Partitions = None,
    start: Annotated[
        Start, typer.Option("--from", help="Where the partitions go on, with empty windows.")
    ] = Start.COMMITTED,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Forget the state of partitions; the group must have no members."""
    settings = read_kafka_settings(config, overrides)
    from consumer.cli.state_text import done, question
    from consumer.state.inspect import opened
    from consumer.state.reset import reset_partition, reset_plans

    with opened(settings, partitions or ()) as view:
        plans = reset_plans(view.state, view.partitions, start.value)
        for line in question(plans, start.value):
            typer.echo(line, err=True)
        if not yes and not _confirmed("Forget it?"):
            raise ViewerConsumerError("nothing was changed")
        for plan in reset_partition(view.state, settings, view.identity, plans, start.value):
            typer.echo(done(plan))


def _confirmed(asked: str) -> bool:
    """Whether somebody says yes; typer's own question writes to stdout, which is for data."""
    typer.echo(f"{asked} [y/N] ", nl=False, err=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
