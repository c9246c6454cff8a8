"""The command `dlq retry`: its parts put together, and what it prints."""

import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import NamedTuple

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from consumer.cli.dead_letter_text import Choice
from consumer.cli.options import INTERRUPTED
from consumer.errors import ViewerConsumerError
from consumer.intake.intakes import Intakes
from consumer.intake.schemas.lookups import lookups_from
from consumer.kafka.admin.cluster import Cluster
from consumer.kafka.admin.dead_letters import DeadLetters
from consumer.kafka.admin.record_sender import TopicSender
from consumer.kafka.timeouts import Timeouts
from consumer.output.dead_letter_reader import DeadLetterFilter
from consumer.retry.preview import CLOSED, Preview
from consumer.retry.records import Refusal, Target
from consumer.retry.run import Report, retry
from consumer.runtime.signals import StopRequest
from consumer.runtime.text import time_text
from consumer.settings.model import KafkaSettings, Settings
from consumer.state.contents import Contents
from consumer.state.inspect import opened, read_stored

_LOG_APPEND_TIME = "LogAppendTime"


class Wishes(NamedTuple):
    """The options of the command beside the choice."""

    sends: bool = False
    """False: a dry run."""
    now: bool = False
    again: bool = False
    force: bool = False


def retry_dead_letters(
    settings: Settings, choice: Choice, wishes: Wishes, timeouts: Timeouts, stop: StopRequest
) -> int:
    """Send dead letters again, or print what would be sent; return the exit code.

    Raises:
        ViewerConsumerError: they cannot be read, the state cannot be read, or not all could be sent.
    """
    kafka = settings.kafka
    with ExitStack() as stack:
        target = _target(kafka, wishes, timeouts)
        preview = None if wishes.force else _preview(settings, choice, timeouts, stack)
        sender = TopicSender(kafka, timeouts) if wishes.sends else None
        progress = stack.enter_context(_progress())
        task = progress.add_task("", total=None, said="")

        def goes_on(report: Report) -> bool:
            progress.update(task, said=f"{report.sent.total():,} of {report.chosen:,} dead letters")
            return not stop.is_set()

        dead_letters = choice.dead_letters(DeadLetters(kafka, timeouts), settings.command("dlq list"), in_order=True)
        stack.enter_context(closing(dead_letters))
        report = retry(dead_letters, target, None if preview is None else preview.outcomes, sender, goes_on)
    for line in _summary(report, kafka, wishes, None if preview is None else preview.oldest_s()):
        typer.echo(line)
    if not report.is_whole:
        return _broken_off(report, settings, choice, wishes)
    return _ended(report, settings, choice, wishes)


def _target(kafka: KafkaSettings, wishes: Wishes, timeouts: Timeouts) -> Target:
    cluster = Cluster(kafka, timeouts)
    partitions = cluster.partitions(kafka.input_topic)
    if partitions is None:
        raise ViewerConsumerError(f'input topic "{kafka.input_topic}" does not exist on {kafka.bootstrap_servers}')
    timestamp_type = (cluster.config(kafka.input_topic) or {}).get("message.timestamp.type", "")
    # Under LogAppendTime the broker sets the time, whatever is sent.
    now = wishes.now or timestamp_type == _LOG_APPEND_TIME
    return Target(kafka.dead_letter_topic, kafka.input_topic, partitions, kafka.group_id, now, wishes.again)


def _preview(settings: Settings, choice: Choice, timeouts: Timeouts, stack: ExitStack) -> Preview:
    view = stack.enter_context(opened(settings, sorted(choice.wanted.partitions), timeouts))
    # A worker waits for an id that the registry does not know yet; here it is asked once.
    source = settings.input.model_copy(update={"unknown_schema_wait_ms": 0})
    intakes = stack.enter_context(closing(Intakes(lookups_from(source))))

    def contents(partition: int) -> Contents:
        (stored,) = read_stored(view.state, [partition])
        return stored.contents

    return Preview(contents, view.identity, settings, intakes.make(source))


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _summary(report: Report, kafka: KafkaSettings, wishes: Wishes, oldest_s: float | None) -> Iterator[str]:
    if report.chosen:
        yield f"{'sent' if wishes.sends else 'to send':>10}  {'refused':>10}"
    for kind in sorted({*report.sent, *report.refused}, key=lambda each: (each.reason, len(each.partition), each)):
        counts = f"{report.sent[kind]:10,}  {report.refused[kind]:10,}"
        yield f"{counts}  {kind.reason}  partition {kind.partition}"
    if report.refusals:
        yield "refused:"
    for why, count in report.refusals.most_common():
        yield f"{count:10,}  {why}{_advice(why)}"
    if CLOSED in report.refusals or (oldest_s is not None and report.sent):
        age = "" if oldest_s is None else f" of {oldest_s:,.0f} s ago or less"
        yield f"Buckets are judged by the checkpoints{age}; those closed since count as open."
    what = "sent" if wishes.sends else "would send"
    of_all = f" of {report.chosen:,}" if report.is_whole else ""
    yield f'{what} {report.sent.total():,}{of_all} dead letters to topic "{kafka.input_topic}"'


def _advice(why: str) -> str:
    return "" if why in set(Refusal) else "; --force sends them"


def _ended(report: Report, settings: Settings, choice: Choice, wishes: Wishes) -> int:
    if not wishes.sends:
        if report.sent:
            typer.echo(f"Nothing was sent. Send them with: {_command(settings, choice, wishes._replace(sends=True))}")
        return 0
    if report.sent and report.next_ms is not None and not choice.places:
        typer.echo(f"They stay in the dead-letter topic; --since {_time(report.next_ms)} leaves them out.")
    return ViewerConsumerError.exit_code if report.refused else 0


def _broken_off(report: Report, settings: Settings, choice: Choice, wishes: Wishes) -> int:
    done = f"{report.sent.total():,} were sent" if wishes.sends else "nothing was sent"
    text = f"{report.error or 'interrupted'}; {done}"
    if wishes.sends:
        repeated = report.sent.total() if choice.places else report.twice
        text += f"; going on sends {repeated:,} of them twice" if repeated else ""
        text += f"; go on with: {_command(settings, _rest(report, choice), wishes)}"
    if report.error:
        raise ViewerConsumerError(text)
    typer.echo(text, err=True)
    return INTERRUPTED


def _rest(report: Report, choice: Choice) -> Choice:
    """What is left: dead letters are sent in the order of their times."""
    if choice.places or report.next_ms is None:
        return choice
    most = None if choice.most is None else max(choice.most - report.chosen, 1)
    return choice._replace(wanted=choice.wanted._replace(since_ms=report.next_ms), most=most)


def _command(settings: Settings, choice: Choice, wishes: Wishes) -> str:
    words = [
        *choice.places,
        *_options_of(choice.wanted),
        *(() if choice.most is None else ("--most", str(choice.most))),
        *(f"--{name}" for name, is_set in zip(("yes", *Wishes._fields[1:]), wishes, strict=True) if is_set),
    ]
    return f"{settings.command('dlq retry')} {shlex.join(words)}"


def _options_of(wanted: DeadLetterFilter) -> Iterator[str]:
    for reason in sorted(wanted.reasons):
        yield from ("--reason", reason)
    for partition in sorted(wanted.partitions):
        yield from ("--partition", str(partition))
    if wanted.since_ms is not None:
        yield from ("--since", _time(wanted.since_ms))
    if wanted.until_ms is not None:
        yield from ("--until", _time(wanted.until_ms))


def _time(time_ms: int) -> str:
    """As the options take it: a time, or milliseconds outside the calendar."""
    text = time_text(time_ms)
    return text if re.fullmatch(r"\d[\dTZ:.-]+", text) else str(time_ms)
