"""Retried calls for the transaction in the log."""

from structlog.testing import capture_logs

from consumer.observe.rate_limit import LINE_EVERY_S
from consumer.worker.service import TransactionMetrics
from tests.worker.rig import Rig


def test_retried_calls_are_all_counted_and_one_line_an_error_and_minute() -> None:
    rig = Rig()
    listener = TransactionMetrics(rig.metrics, rig.clock.time)
    with capture_logs() as lines:
        for _ in range(5):
            listener.retried("_TIMED_OUT")
            listener.retried("_TRANSPORT")
        rig.clock.now_s += LINE_EVERY_S
        listener.retried("_TIMED_OUT")
    assert [(each["error"], each["lines_left_out"]) for each in lines] == [
        ("_TIMED_OUT", 0),
        ("_TRANSPORT", 0),
        ("_TIMED_OUT", 4),
    ]
    assert rig.counted("transaction_retries_total", error="_TIMED_OUT") == 6
