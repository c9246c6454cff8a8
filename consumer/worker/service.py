"""Build a worker of real parts from settings; this is what `viewer-consumer run` runs."""

import contextlib
import gc
import socket
import uuid
from collections.abc import Callable, Mapping
from functools import partial

import structlog

from consumer import __version__
from consumer.errors import ViewerConsumerError
from consumer.intake.intake import Intake
from consumer.intake.intakes import Intakes
from consumer.intake.rejects import Reject
from consumer.intake.schemas.lookups import lookups_from
from consumer.kafka.admin.group import check_group
from consumer.kafka.admin.growth import TopicGrowth
from consumer.kafka.admin.topics import check_topics
from consumer.kafka.clients import library_version
from consumer.kafka.config import admin_config, producer_config, restore_config
from consumer.kafka.deadline import CallTimedOutError, call_while
from consumer.kafka.end_offsets import EndOffsets
from consumer.kafka.live_input import LiveInput
from consumer.kafka.protocols import AssignmentHandler
from consumer.kafka.readers import live_input
from consumer.kafka.restore_reader import KafkaRestoreReader
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.kafka.topic_watch import TopicWatch
from consumer.kafka.transaction import TransactionOwner
from consumer.observe.api import Api, ApiParts
from consumer.observe.collector import SnapshotCollector
from consumer.observe.facts import WorkerFacts
from consumer.observe.history import BucketHistory
from consumer.observe.metrics import WorkerMetrics
from consumer.observe.rate_limit import RateLimit
from consumer.observe.routes import Routes
from consumer.observe.server import StatusServer
from consumer.observe.site import Site
from consumer.observe.snapshot import SnapshotBoard
from consumer.observe.watchdog import Watchdog
from consumer.output.encoders import encoder_from
from consumer.output.summary_encoding import Encoder
from consumer.runtime.clocks import Clocks
from consumer.runtime.signals import StopRequest
from consumer.settings.model import Settings
from consumer.state.checkpoint import Identity
from consumer.windows.closing import CLOSE_REASONS
from consumer.windows.layout import CLOSED
from consumer.worker.kernel_compiler import KernelCompiler
from consumer.worker.loop import Worker, WorkerDependencies
from consumer.worker.start_progress import LOADING, StartProgress

GC_THRESHOLDS = (100_000, 50, 100)
"""Of the garbage collector: ids of streams, and messages of the fallback reader, are many and short-lived."""

LEAVE_S = 7.0
"""Kept of the time for a stop, for leaving the group behind the last commit."""

_log = structlog.get_logger(__name__)


class Service:
    """A worker with its HTTP server.

    Raises:
        UsageError: the settings don't fit together, or librdkafka refuses them.
        ViewerConsumerError: the address to listen on is not available.
    """

    def __init__(self, settings: Settings, clocks: Clocks | None = None, timeouts: Timeouts = TIMEOUTS) -> None:
        self._settings = settings
        self._timeouts = timeouts
        self._clocks = clocks or Clocks()
        self.board = SnapshotBoard(self._clocks.monotonic_s())
        self._compiler = KernelCompiler()
        self._progress = StartProgress(self.board, self._clocks.monotonic_s, self._compiler)
        versions = {"version": __version__, "librdkafka": library_version()}
        self.metrics = WorkerMetrics(versions, [reject.label for reject in Reject], CLOSE_REASONS)
        self.metrics.registry.register(
            SnapshotCollector(
                self.board, self._clocks.monotonic_s, self._clocks.wall_s, settings.windows.window_duration_ms
            )
        )
        self._watchdog = Watchdog(self.board, self._clocks.monotonic_s)
        self._history = BucketHistory(CLOSED) if settings.http.page else None
        routes = Routes(self.metrics.registry, self.board, self._clocks.monotonic_s, self._site(versions))
        self._server = StatusServer(settings.http.host, settings.http.port, routes, self._clocks.monotonic_s)

    def _site(self, versions: Mapping[str, str]) -> Site | None:
        if self._history is None:
            return None
        kafka, windows = self._settings.kafka, self._settings.windows
        facts = WorkerFacts(
            host=socket.gethostname(),
            version=versions["version"],
            librdkafka=versions["librdkafka"],
            group_id=kafka.group_id,
            input_topic=kafka.input_topic,
            output_topic=kafka.output_topic,
            dead_letter_topic=kafka.dead_letter_topic,
            counting=windows.counting,
            bucket_ms=windows.bucket_ms,
            grace_ms=windows.grace_ms,
            window_duration_ms=windows.window_duration_ms,
            max_stream_series=self._settings.http.max_stream_series,
            close_reasons=CLOSE_REASONS,
        )
        return Site(Api(ApiParts(self.board, self._history, self.metrics, facts, self._clocks)))

    @property
    def address(self) -> str:
        """The URL below which metrics and health are."""
        return self._server.address

    @property
    def page_url(self) -> str:
        """The URL of the page; empty where `http.page` is off."""
        return "" if self._history is None else f"{self.address}/"

    def run(self, stop: StopRequest) -> None:
        """Work until a stop is asked for, then commit, leave the group and return, in the time that the request has.

        Raises:
            ViewerConsumerError: an error that stops the worker; says what to do. None once a stop was asked for.
        """
        self._server.start()
        self._watchdog.start()
        _log.info("metrics", address=f"{self.address}/metrics")
        if self.page_url:
            _log.info("page", address=self.page_url)
        try:
            with contextlib.closing(Intakes(lookups_from(self._settings.input))) as intakes:
                self._run(stop, intakes)
        except ViewerConsumerError as error:
            if not stop.is_set():
                raise
            # Whoever starts the next worker need not resolve it; what is not committed is read again.
            _log.warning("stopped", left=[str(error)])
        finally:
            self._watchdog.close()
            self._server.close()

    def _run(self, stop: StopRequest, intakes: Intakes) -> None:
        try:
            worker = call_while(partial(self._is_starting, stop), partial(self._prepare, stop, intakes))
        except CallTimedOutError:
            self._compiler.stop()
            _log.info("stopped", while_doing=self._progress.text())
            return
        try:
            worker.start()
            self.board.starting("")
            while not stop.is_set():
                worker.turn()
        except BaseException:
            with contextlib.suppress(ViewerConsumerError):  # the first error is the cause
                worker.abandon(stop.left_s())
            raise
        left = worker.stop(stop.left_s())
        if left:
            _log.warning("stopped", left=left)
        else:
            _log.info("stopped")

    def _is_starting(self, stop: StopRequest) -> bool:
        """Show what the start does; called while it runs in another thread, which a stop does not wait for."""
        self._progress.show()
        return not stop.is_set()

    def _prepare(self, stop: StopRequest, intakes: Intakes) -> Worker:
        """All that may take long before the worker owns anything."""
        # Problems of files are reported before any request to Kafka.
        intake = intakes.make(self._settings.input)
        self._progress.doing = "checking the topics"
        layout = check_topics(self._settings.kafka, self._timeouts)
        for topic in layout.topics:
            _log.info("topic", role=topic.role, name=topic.name, partitions=topic.partitions, created=topic.created)
            for warning in topic.warnings:
                _log.warning(warning)
        check_group(self._settings.kafka, self._timeouts)
        encode = encoder_from(self._settings)
        self._progress.doing = LOADING
        self._compiler.run()
        identity = Identity(layout.identity.cluster_id, layout.identity.topic_id, self._settings.kafka.group_id)
        dependencies = self._dependencies(intake, intakes, encode, identity, layout.message_bytes, stop)
        _tune_garbage_collector()
        self._progress.doing = "initializing the producer"
        dependencies.transactions.init()
        return Worker(self._settings, dependencies)

    def _dependencies(
        self,
        intake: Intake,
        intakes: Intakes,
        encode: Encoder,
        identity: Identity,
        message_bytes: int,
        stop: StopRequest,
    ) -> WorkerDependencies:
        settings = self._settings
        process_id = uuid.uuid4().hex[:12]
        transactions = TransactionOwner(
            producer_config(settings, process_id, message_bytes),
            TransactionMetrics(self.metrics, self._clocks.monotonic_s),
            stop_left_s=lambda: stop.left_s() - LEAVE_S,
        )
        return WorkerDependencies(
            make_input=partial(_make_input, settings, self._timeouts),
            transactions=transactions,
            reader=KafkaRestoreReader(
                restore_config(settings),
                admin_config(settings.kafka),
                settings.kafka,
                TopicGrowth(settings.kafka, timeouts=self._timeouts).grow,
                self._timeouts,
            ),
            ends=EndOffsets(admin_config(settings.kafka), settings.kafka.input_topic, self._timeouts.end_offsets_s),
            topic_ids=TopicWatch(admin_config(settings.kafka), settings.kafka.input_topic, identity.topic_id),
            intake=intake,
            make_intake=intakes.make,
            identity=identity,
            encode=encode,
            metrics=self.metrics,
            board=self.board,
            clocks=self._clocks,
            message_bytes=message_bytes,
            history=self._history,
        )


def _make_input(settings: Settings, timeouts: Timeouts, handler: AssignmentHandler) -> LiveInput:
    return live_input(settings, handler, timeouts)


def _tune_garbage_collector() -> None:
    """Exclude existing objects from garbage collection: they stay, and so does the start's little garbage.

    Collecting it first could destroy a client of the library, which waits for brokers, possibly for minutes.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


class TransactionMetrics:
    """Counts how transactions end.

    Args:
        metrics: count them.
        monotonic_s: the clock that limits log lines.
    """

    def __init__(self, metrics: WorkerMetrics, monotonic_s: Callable[[], float]) -> None:
        self._metrics = metrics
        self._limit = RateLimit(monotonic_s)

    def committed(self, seconds: float) -> None:
        """Do nothing: the publisher counts commits with their summaries."""

    def aborted(self, error: str) -> None:
        """Count an abort."""
        self._metrics.count_abort(error)

    def lost(self, error: str) -> None:
        """Count a loss."""
        self._metrics.count_abort(error)

    def retried(self, error: str) -> None:
        """Count a retry; log at most one a minute by error."""
        self._metrics.count_retry(error)
        left_out = self._limit.admit(error)
        if left_out is not None:
            _log.warning("transaction call retried", error=error, lines_left_out=left_out)
