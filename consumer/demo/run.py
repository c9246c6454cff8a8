"""`run --embedded` and `run --demo`: a simulated audience, the worker, and a live dashboard.

The worker runs in the main thread as in `run` and reaches the broker over TCP; with --embedded the broker is in this
process. The audience and the dashboard are threads; one event, which signals set, stops all.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import structlog
from rich.console import Console

from consumer.demo.display import Background, DisplaySources, logs_for_people, print_totals, shown
from consumer.kafka.admin.input_topic import ensure_input_topic
from consumer.kafka.embedded import EmbeddedBroker
from consumer.runtime.signals import StopRequest
from consumer.settings.field_sources import FieldSettings
from consumer.settings.model import (
    EventNameSettings,
    HttpSettings,
    KafkaSettings,
    OutputSettings,
    Settings,
)
from consumer.simulate.noise import NoiseRules
from consumer.simulate.options import SimulateOptions
from consumer.simulate.programme import Cast
from consumer.simulate.run import WallClock, simulate
from consumer.worker.compiling import compile_kernels
from consumer.worker.service import Service

PREFIX = "demo-"
"""Prefix of topics and group on a real broker, so that simulated events never mix with real ones."""

AUDIENCE = SimulateOptions(
    cast=Cast(streams=300, viewers=12_000),
    noise=NoiseRules(leave_loss=0.005, disorder=0.05, max_delay_ms=2_000, max_skew_ms=250),
    history_ms=120_000,
    speed=1.0,
)
"""Starts two minutes ago and catches up, so that buckets close from the first second on."""

_log = structlog.get_logger(__name__)


def run_demo(
    settings: Settings,
    stop: StopRequest,
    console: Console,
    duration_s: float | None = None,
    *,
    embedded: bool = True,
) -> None:
    """Run all parts until `stop` is set or the time is up, then print the totals.

    Args:
        settings: the settings; cluster and framing of the input are replaced.
        stop: set by signals; set here when a part fails or the time is up.
        console: stderr; a dashboard if it is a terminal, else lines of text.
        duration_s: run time after the worker is ready; None is until stopped.
        embedded: use a broker in this process; else that of the settings, with separate topics and group.

    Raises:
        ViewerConsumerError: a part failed, for example a port is not available.
    """
    began_s = time.monotonic()
    if not compile_kernels(console, lambda: not stop.is_set()):
        return
    with logs_for_people(console), _broker(settings.kafka, embedded=embedded) as kafka:
        aimed = demo_settings(settings, kafka)
        service = Service(aimed)
        broker = "in-process broker" if embedded else kafka.bootstrap_servers
        sources = DisplaySources(service, f"{broker}, simulated audience", console, began_s, duration_s)
        audience = Background("audience", partial(simulate, AUDIENCE, aimed, WallClock(stop)), stop)
        with shown(sources, stop):
            try:
                service.run(stop)
            finally:
                stop.set()
                audience.wait()
        audience.raise_failure()
    print_totals(sources)


@contextmanager
def _broker(kafka: KafkaSettings, *, embedded: bool) -> Iterator[KafkaSettings]:
    """Provide a broker with the input topic; yield its settings."""
    if embedded:
        topics = (kafka.input_topic, kafka.output_topic, kafka.dead_letter_topic, kafka.state_topic)
        with EmbeddedBroker(topics) as broker:
            yield kafka.model_copy(update={"bootstrap_servers": broker.bootstrap_servers, "client": {}})
        return
    names = ("group_id", "input_topic", "output_topic", "state_topic", "dead_letter_topic")
    own = kafka.model_copy(update={name: PREFIX + getattr(kafka, name) for name in names})
    ensure_input_topic(own)
    yield own


def demo_settings(settings: Settings, kafka: KafkaSettings) -> Settings:
    """The settings changed for the demo's broker and the audience's events.

    The metrics port is unchanged, except that a free one is used if the default is taken.
    """
    return settings.model_copy(
        update={
            "kafka": kafka,
            "input": settings.input.model_copy(
                update={
                    "format": "confluent",
                    "schema_registry_url": "",
                    "schemas": (),
                    "ids": {},
                    "fields": FieldSettings(),
                    "events": EventNameSettings(),
                }
            ),
            "output": OutputSettings(),
            "http": _free_http(settings.http),
        }
    )


def _free_http(http: HttpSettings) -> HttpSettings:
    if "port" in http.model_fields_set or _is_free(http):
        return http
    _log.warning("the default port is taken; metrics use another", taken=http.port)
    return http.model_copy(update={"port": 0})


def _is_free(http: HttpSettings) -> bool:
    """Whether the address is free right now."""
    try:
        with socket.create_server((http.host, http.port)):
            return True
    except OSError:
        return False
