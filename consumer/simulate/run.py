"""The `simulate` command: an audience, noise, and a sink for its events."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from consumer.errors import ViewerConsumerError
from consumer.runtime.files import check_overwrite
from consumer.runtime.signals import StopRequest
from consumer.settings.model import InputSettings, Settings
from consumer.simulate.audience import Audience
from consumer.simulate.encode import EventEncoder
from consumer.simulate.feed import Arrivals, Clock, End, feed
from consumer.simulate.noise import Noise
from consumer.simulate.options import SimulateOptions, SimulateReport
from consumer.simulate.pace import choose_pace
from consumer.simulate.progress import watch
from consumer.simulate.reports import Reports
from consumer.simulate.schema import apicurio_frame, confluent_frame, event_schema, single_object_frame
from consumer.simulate.sinks import AvroFileSink, JsonLinesSink, Sink
from consumer.simulate.topic import TopicSink


class WallClock:
    """The machine's clock; waiting ends when the run has to stop."""

    def __init__(self, stop: StopRequest) -> None:
        self._stop = stop

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""
        return time.time_ns() // 1_000_000

    def wait(self, seconds: float) -> bool:
        """Wait; return True at once when the run has to stop."""
        return self._stop.wait(seconds)


def simulate(
    options: SimulateOptions, settings: Settings, clock: Clock, console: Console | None = None
) -> SimulateReport:
    """Send a simulated audience's events until the end that the options set, or until the clock says stop.

    Args:
        options: who watches, how long, how fast, to where.
        settings: names the input topic and its framing.
        clock: wall time; it also tells when to stop.
        console: stderr; progress is shown there when it is a terminal.

    Raises:
        ViewerConsumerError: the file cannot be written, or Kafka can't be reached.
    """
    began_ms = clock.now_ms()
    pace = choose_pace(options, began_ms)
    arrivals = Arrivals(
        Audience(options.cast, pace.start_ms, options.seed),
        Reports(options.reports, options.seed),
        Noise(options.noise, options.seed),
    )
    end = End(None if options.duration_ms is None else pace.start_ms + options.duration_ms, options.max_events)
    with open_sink(options, settings, arrivals.audience.programme.stream_ids) as sink:
        sent = watch(feed(arrivals, sink, pace, clock, end), pace.start_ms, end, console)
    return SimulateReport(
        where=_where(options, settings),
        events=sent.events,
        by_type=sent.by_type,
        from_ms=pace.start_ms,
        to_ms=sent.to_ms,
        seconds=(clock.now_ms() - began_ms) / 1000,
    )


@contextmanager
def open_sink(options: SimulateOptions, settings: Settings, stream_ids: tuple[str, ...]) -> Iterator[Sink]:
    """Provide the sink that the options ask for; close its file at the end."""
    if options.target == "topic":
        framed = EventEncoder(stream_ids, options.seed, frame(settings.input, options.schema_id))
        yield TopicSink(settings.kafka, framed, stream_ids)
        return
    encoder = EventEncoder(stream_ids, options.seed)
    if options.target == "stdout":
        yield JsonLinesSink(sys.stdout, encoder)
        return
    path = Path(options.out or "")
    check_overwrite(path, force=options.force)
    try:
        if options.target == "json-lines":
            with path.open("w", encoding="utf-8") as text:
                yield JsonLinesSink(text, encoder)
        else:
            with path.open("wb") as file:
                yield AvroFileSink(file, encoder, event_schema(), options.seed)
    except OSError as error:
        raise ViewerConsumerError(f"{path}: cannot be written: {error.strerror or error}") from None


def frame(source: InputSettings, schema_id: int) -> bytes:
    """Return the bytes that precede each record, so that a worker with these settings reads it."""
    if source.format == "confluent":
        return confluent_frame(schema_id)
    if source.format == "apicurio":
        return apicurio_frame(schema_id)
    return single_object_frame(event_schema()) if source.format == "single-object" else b""


def _where(options: SimulateOptions, settings: Settings) -> str:
    if options.target == "topic":
        return f'topic "{settings.kafka.input_topic}" on {settings.kafka.bootstrap_servers}'
    return "stdout" if options.out == "-" else str(options.out)
