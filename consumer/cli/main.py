"""The commands: each reads its settings, hands over to a module that does the work, and ends with an exit code.

stdout is data, stderr is for people. Exit codes: 0 ok, 1 failed, 2 usage or configuration error, 130 interrupted. Each
command imports what it needs inside its function, so that `--help` and `config` answer at once.
"""

# ruff: noqa: PLC0415  # see above

import contextlib
import errno
import json
import os
import sys
import threading
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from consumer import __version__
from consumer.cli.dead_letters import dlq_app
from consumer.cli.health import health
from consumer.cli.help import HELP_OPTIONS, help_of, with_help, with_help_for_bare_groups
from consumer.cli.options import (
    INTERRUPTED,
    Config,
    Overrides,
    read_kafka_settings,
    read_settings,
    read_worker_settings,
    timeouts_of,
)
from consumer.cli.schema import schema
from consumer.cli.simulate import simulate
from consumer.cli.state import state_app
from consumer.cli.top import top
from consumer.errors import UsageError, ViewerConsumerError
from consumer.kafka.timeouts import TIMEOUTS, Timeouts

if TYPE_CHECKING:
    from consumer.runtime.signals import StopRequest

_CANNOT_BE_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EBADF}
"""Errors of writing that the machine's owner can resolve, as a full disk."""

app = typer.Typer(
    name="viewer-consumer",
    help="Count viewers of live video: read viewer events from Kafka, publish one summary per closed bucket.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings=HELP_OPTIONS,
    pretty_exceptions_enable=False,
)

app.add_typer(dlq_app)
app.add_typer(state_app)


class LogLevel(StrEnum):
    """The lowest level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class AtEnd(StrEnum):
    """What happens to open buckets at the end of the files."""

    CLOSE = "close"
    KEEP = "keep"


class SummaryFormat(StrEnum):
    """The format of summaries on stdout."""

    JSONL = "jsonl"
    CSV = "csv"
    TABLE = "table"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"viewer-consumer {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _asked: Annotated[  # its callback prints and exits
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before a command."""


@app.command()
def run(
    context: typer.Context,
    config: Config = None,
    overrides: Overrides = None,
    embedded: Annotated[bool, typer.Option("--embedded", help="As --demo, with a broker in this process.")] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Simulate an audience and show the busiest streams.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the busiest streams, and of the log only warnings.")
    ] = False,
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="SPAN", help="Of a demo: end after 90s, 10m, 2h.")
    ] = None,
    log_level: Annotated[
        LogLevel, typer.Option("--log-level", help="The lowest level that is logged.")
    ] = LogLevel.INFO,
) -> None:
    """Run the worker until SIGTERM or Ctrl-C."""
    from consumer.runtime.signals import stop_on_signals

    with stop_on_signals() as stop:  # before anything that may take long
        _run(
            stop,
            config,
            overrides,
            embedded=embedded,
            demo=demo,
            watch=watch,
            duration=duration,
            log_level=log_level,
            timeouts=timeouts_of(context),
        )


def _run(
    stop: "StopRequest",
    config: Path | None,
    overrides: Sequence[str] | None,
    *,
    embedded: bool,
    demo: bool,
    watch: bool,
    duration: str | None,
    log_level: LogLevel,
    timeouts: Timeouts,
) -> None:
    settings = read_worker_settings(config, overrides)
    from consumer.runtime.durations import parse_span_ms

    duration_s = None if duration is None else parse_span_ms("--duration", duration) / 1000
    if duration_s is not None and not (embedded or demo):
        raise UsageError("--duration: only for --embedded and --demo; a worker runs until it is stopped")
    from rich.console import Console

    from consumer.observe.logs import set_up_logs

    set_up_logs(log_level, sys.stderr, os.environ)
    if embedded or demo:
        from consumer.demo.run import run_demo

        run_demo(settings, stop, Console(stderr=True), embedded=embedded, duration_s=duration_s)
    elif watch:
        from consumer.demo.display import run_shown

        run_shown(settings, stop, Console(stderr=True), timeouts)
    else:
        from consumer.worker.service import Service

        Service(settings, timeouts=timeouts).run(stop)


@app.command()
def aggregate(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Avro containers or JSON lines, also packed with gzip, Zstandard, bzip2 or xz; - is stdin.",
        ),
    ],
    config: Config = None,
    overrides: Overrides = None,
    view: Annotated[
        Path | None,
        typer.Option(
            "--view",
            metavar="FILE",
            help="Write every stream's final window to this file; - is stdout, in place of the summaries.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file of --view if it exists.")] = False,
    at_end: Annotated[
        AtEnd, typer.Option("--at-end", help="What to do with buckets that are open at the end.")
    ] = AtEnd.CLOSE,
    output_format: Annotated[
        SummaryFormat, typer.Option("--output-format", help="JSON lines, CSV with a header, or a table for people.")
    ] = SummaryFormat.JSONL,
) -> None:
    """Compute summaries from files, without Kafka, and write them to stdout; exit code 1 if no event was accepted."""
    settings = read_settings(config, overrides)
    from consumer.aggregate import aggregate_files
    from consumer.output.summary_text import OutputFormat

    any_accepted = aggregate_files(
        settings,
        files,
        view_path=view,
        force=force,
        close_at_end=at_end is AtEnd.CLOSE,
        output_format=OutputFormat(output_format.value),
    )
    if not any_accepted:
        raise typer.Exit(ViewerConsumerError.exit_code)


app.command()(simulate)
app.command()(schema)
app.command()(health)
app.command()(top)


@app.command("config")
def show_config(
    config: Config = None,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON rather than TOML.")] = False,
    example: Annotated[
        bool, typer.Option("--example", help="Print a file with all settings, their defaults and what they mean.")
    ] = False,
) -> None:
    """Check the settings and print them, with secrets hidden."""
    if example:
        if config or overrides or as_json:
            raise UsageError("--example: prints the defaults as TOML, so it goes with no other option")
        from consumer.cli.settings_example import example_toml

        typer.echo(example_toml(), nl=False)
        return
    settings = read_worker_settings(config, overrides)
    from consumer.cli.settings_text import shown, to_toml

    values = shown(settings)
    typer.echo(json.dumps(values, indent=2, ensure_ascii=False) if as_json else to_toml(values), nl=as_json)


@app.command()
def topics(
    context: typer.Context,
    config: Config = None,
    overrides: Overrides = None,
    check: Annotated[bool, typer.Option("--check", help="Only look; create nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON rather than text.")] = False,
) -> None:
    """Check the topics, and create missing ones."""
    settings = read_kafka_settings(config, overrides)
    from consumer.cli.topics_text import timestamps_text
    from consumer.kafka.admin.topics import check_topics

    kafka = settings.kafka.model_copy(update={"create_topics": False}) if check else settings.kafka
    for topic in check_topics(kafka, timeouts_of(context)).topics:
        state = "created" if topic.created else "found"
        line = f"{topic.role} topic {topic.name}: {topic.partitions} partitions, {state}"
        typer.echo(json.dumps(topic._asdict(), ensure_ascii=False) if as_json else line)
        if topic.role == "input" and not as_json:
            typer.echo(f"  {timestamps_text(topic.timestamp_type)}")
        for warning in topic.warnings:
            typer.echo(f"warning: {warning}", err=True)


@app.command("help")
def show_help(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="COMMAND", help="Such as: dlq list.")] = None,
) -> None:
    """Show the help of a command."""
    root = context.find_root()
    text = help_of(root.command, root, words or ())
    if text is None:
        raise UsageError(f"there is no command {' '.join(words or ())}; see viewer-consumer help")
    typer.echo(text)


def run_command(arguments: Sequence[str], timeouts: Timeouts = TIMEOUTS) -> int:
    """Run one command line and return its exit code; errors are lines on stderr."""
    command = with_help(typer.main.get_command(app))
    try:
        code = command.main(
            with_help_for_bare_groups(command, arguments),
            prog_name="viewer-consumer",
            standalone_mode=False,
            obj=timeouts,
        )
        sys.stdout.flush()
    except ViewerConsumerError as error:
        _print_error(str(error))
        return error.exit_code
    except TyperException as error:
        _print_error(_one_line(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # typer makes the one of the other
        _give_up_stdout()
        return 0  # whoever reads stdout has enough, as `| head -1`
    except OSError as error:
        if error.errno not in _CANNOT_BE_WRITTEN:
            raise
        # Other files are named where they are written; sockets have no such errors.
        _print_error(f"{error.filename or 'stdout'}: cannot be written: {error.strerror}")
        _give_up_stdout()
        return ViewerConsumerError.exit_code
    return code if isinstance(code, int) else 0


def _give_up_stdout() -> None:
    """Nobody takes what is left in its buffer; the interpreter must not flush it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _one_line(error: TyperException) -> str:
    """One line: the usage error and the command with help."""
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message}; see {context.command_path} --help" if context else message


def _print_error(message: str) -> None:
    with contextlib.suppress(OSError):  # the exit code still tells
        for line in message.splitlines():
            print(f"error: {line}", file=sys.stderr)  # noqa: T201  # stderr is where people look


def main() -> None:
    """Entry point of the `viewer-consumer` command."""
    _open_standard_streams()
    code = run_command(sys.argv[1:])
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    if any(thread.daemon for thread in threading.enumerate()):
        # It hangs in the compiler or in the client library, and may crash if the interpreter goes from under it.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _open_standard_streams() -> None:
    """Where a stream was closed by whoever started this process, the next file or socket would get its number.

    A command that prints then fails as with a full disk; one that prints nothing runs.
    """
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY), encoding="utf-8")
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
