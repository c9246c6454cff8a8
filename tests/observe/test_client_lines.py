"""The client library's lines: a broker that goes and comes back is two lines, whatever number of clients complain."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from consumer.kafka.clients import LOGGER
from consumer.observe.client_lines import CONFIRMED_S, FORGET_S, LOGGER_NAME, MAX_BROKERS, ClientLines
from consumer.observe.logs import set_up_logs
from consumer.observe.rate_limit import LINE_EVERY_S

CONSUMER, PRODUCER = "viewer-consumer#consumer-5", "viewer-consumer#producer-6"
REFUSED = (
    "[thrd:kafka:9092/bootstrap]: kafka:9092/bootstrap: Connect to ipv4#10.0.0.7:9092 failed: Connection refused "
    "(after 0ms in state CONNECT{})"
)
CLOSED = "[thrd:kafka:9092/1]: kafka:9092/1: Disconnected: connection closed by peer (after 2444ms in state UP)"


class Lines:
    """What comes out of the client library's lines, with a clock to move."""

    def __init__(self, level: str = "info") -> None:
        self.now_s = 1_000.0
        self._stream = io.StringIO()
        set_up_logs(level, self._stream, {})
        (installed,) = (each for each in LOGGER.filters if isinstance(each, ClientLines))
        LOGGER.removeFilter(installed)
        self.filter = ClientLines(level, lambda: self.now_s)
        LOGGER.addFilter(self.filter)

    def say(self, kind: str, text: str, level: int = logging.ERROR, client: str = CONSUMER) -> None:
        """As the client library does."""
        LOGGER.log(level, "%s [%s] %s", kind, client, text)

    def connected(self, broker: str = "kafka:9092/1", client: str = CONSUMER) -> None:
        self.say("CONNECTED", broker, logging.INFO, client)

    def out(self) -> list[dict[str, Any]]:
        """The lines since the last call, without what all lines have."""
        lines = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        self._stream.seek(0)
        self._stream.truncate()
        return [{key: value for key, value in line.items() if key not in {"timestamp", "logger"}} for line in lines]


@pytest.fixture
def lines() -> Iterator[Lines]:
    lines = Lines()
    yield lines
    LOGGER.removeFilter(lines.filter)


def away(reason: str, away_s: float = 0.0, left_out: int = 0, broker: str = "kafka:9092") -> dict[str, Any]:
    event = "broker still away" if away_s else "broker away"
    return {
        "event": event, "level": "warning", "broker": broker, "reason": reason, "away_s": away_s,
        "lines_left_out": left_out,
    }  # fmt: skip


def back(away_s: float, left_out: int = 0) -> dict[str, Any]:
    return {"event": "broker back", "level": "info", "broker": "kafka:9092", "away_s": away_s,
            "lines_left_out": left_out}  # fmt: skip


def test_the_logger_is_the_client_librarys() -> None:
    assert LOGGER.name == LOGGER_NAME


def test_a_line_when_a_broker_goes_one_a_minute_while_it_is_away_and_one_when_it_is_back(lines: Lines) -> None:
    lines.connected()
    lines.say("FAIL", CLOSED, logging.INFO)
    for number in range(250):
        client = (CONSUMER, PRODUCER)[number % 2]
        lines.say("FAIL", REFUSED.format(f", {number} identical error(s) suppressed"), client=client)
        lines.now_s += 0.5
    reason = "Connect to ipv4#10.0.0.7:9092 failed: Connection refused"
    assert lines.out() == [away(reason), away(reason, 60.0, 119), away(reason, 120.0, 119)]
    lines.connected()
    lines.connected()
    assert lines.out() == [back(125.0, 9)]


def test_a_broker_that_comes_and_goes_is_reported_once_a_minute(lines: Lines) -> None:
    for _ in range(100):
        lines.say("FAIL", REFUSED.format(""))
        lines.now_s += 1.0
        lines.connected()
    assert [each["event"] for each in lines.out()] == ["broker away", "broker back"] * 2


def test_connections_closed_in_good_order_are_no_news(lines: Lines) -> None:
    for _ in range(3):
        lines.say("FAIL", CLOSED, logging.INFO)
        lines.connected()
    assert lines.out() == []


def test_old_lines_of_a_client_that_is_polled_rarely_are_no_news(lines: Lines) -> None:
    lines.connected()
    lines.say("FAIL", REFUSED.format(""), client=PRODUCER)
    assert lines.out() == []
    lines.now_s += CONFIRMED_S
    lines.say("FAIL", REFUSED.format(""), client=PRODUCER)
    assert [each["event"] for each in lines.out()] == ["broker away"]


def test_each_broker_has_its_own_line_and_is_found_in_all_forms(lines: Lines) -> None:
    for text in (
        REFUSED.format(""),
        "[thrd:GroupCoordinator]: GroupCoordinator: b:9092: Disconnected (after 2444ms in state UP)",
        "[thrd:sasl_ssl://c:9093/3]: sasl_ssl://c:9093/3: SASL authentication error: no (after 5ms in state AUTH_REQ)",
        "[thrd:[::1]:9092/4]: [::1]:9092/4: Failed to resolve",
    ):
        lines.say("FAIL", text)
    lines.say("REQTMOUT", "[thrd:d:9092/5]: d:9092/5: Timed out 2 in-flight, 0 retry-queued", logging.WARNING)
    assert [(each["broker"], each["reason"]) for each in lines.out()] == [
        ("kafka:9092", "Connect to ipv4#10.0.0.7:9092 failed: Connection refused"),
        ("b:9092", "Disconnected"),
        ("c:9093", "SASL authentication error: no"),
        ("[::1]:9092", "Failed to resolve"),
        ("d:9092", "Timed out 2 in-flight, 0 retry-queued"),
    ]


def test_a_coordinator_is_known_by_its_node(lines: Lines) -> None:
    timed_out = "[thrd:TxnCoordinator]: TxnCoordinator/1: Timed out 2 in-flight, 0 retry-queued"
    lines.say("REQTMOUT", timed_out, logging.WARNING, PRODUCER)
    assert [each["event"] for each in lines.out()] == [f"REQTMOUT [{PRODUCER}] {timed_out}"], "as it is"
    lines.connected()
    lines.now_s += CONFIRMED_S
    lines.say("REQTMOUT", timed_out, logging.WARNING, PRODUCER)
    assert lines.out() == [away("Timed out 2 in-flight, 0 retry-queued")]


def test_a_broker_that_nobody_needed_for_long_goes_anew(lines: Lines) -> None:
    lines.say("FAIL", REFUSED.format(""))
    lines.now_s += FORGET_S
    lines.say("FAIL", REFUSED.format(""))
    assert [each["event"] for each in lines.out()] == ["broker away"] * 2


def test_other_lines_pass_once_a_minute_by_kind_and_level(lines: Lines) -> None:
    for _ in range(5):
        lines.say("TXNERR", "[thrd:main]: it failed")
        lines.say("GETPID", "[thrd:main]: retrying", logging.WARNING)
    lines.now_s += LINE_EVERY_S
    lines.say("TXNERR", "[thrd:main]: it failed")
    lines.say("TXNERR", "[thrd:main]: it failed")
    assert lines.out() == [
        {"event": f"TXNERR [{CONSUMER}] [thrd:main]: it failed", "level": "error"},
        {"event": f"GETPID [{CONSUMER}] [thrd:main]: retrying", "level": "warning"},
        {"event": f"TXNERR [{CONSUMER}] [thrd:main]: it failed (4 more of this kind were left out)", "level": "error"},
    ]


def test_at_level_debug_all_lines_pass() -> None:
    lines = Lines("debug")
    for _ in range(5):
        lines.say("FAIL", REFUSED.format(""))
    assert len(lines.out()) == 5
    LOGGER.removeFilter(lines.filter)


def test_what_is_remembered_is_bounded(lines: Lines) -> None:
    for number in range(2 * MAX_BROKERS):
        lines.connected(f"kafka-{number}:9092/{number}")
        lines.say(f"KIND{number}", "x")
    assert len(lines.filter._brokers) == len(lines.filter._addresses) == MAX_BROKERS
    assert len(lines.filter._limit._kinds) <= 100


def test_a_second_set_up_keeps_one_filter() -> None:
    for _ in range(3):
        set_up_logs("info", io.StringIO(), {})
    assert sum(isinstance(each, ClientLines) for each in LOGGER.filters) == 1
