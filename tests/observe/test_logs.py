import io
import json
import logging
import re

import pytest
import structlog

from consumer.kafka.clients import LOGGER
from consumer.observe.logs import set_up_logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_machines_get_one_json_object_a_line() -> None:
    stream = io.StringIO()
    set_up_logs("info", stream, {})
    structlog.get_logger("consumer.worker.loop").info("commit done", summaries=3, stream="a\nb")
    (line,) = lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", str(line.pop("timestamp")))
    assert line == {
        "event": "commit done",
        "level": "info",
        "logger": "consumer.worker.loop",
        "summaries": 3,
        "stream": "a\nb",
    }


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_people_get_text_and_colours_unless_they_want_none(environ: dict[str, str], *, coloured: bool) -> None:
    stream = Terminal()
    set_up_logs("info", stream, environ)
    structlog.get_logger("x").warning("slow", poll_gap_s=2.5)
    assert ("\x1b[" in stream.getvalue()) == coloured
    plain = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert "slow" in plain
    assert "poll_gap_s=2.5" in plain


def test_the_level_holds_for_both_kinds_of_loggers() -> None:
    stream = io.StringIO()
    set_up_logs("warning", stream, {})
    structlog.get_logger().info("quiet")
    logging.getLogger("other").info("quiet")
    structlog.get_logger().warning("loud")
    logging.getLogger("other").warning("loud too")
    assert [line["event"] for line in lines(stream)] == ["loud", "loud too"]


def test_what_clients_do_to_the_http_server_is_not_logged() -> None:
    stream = io.StringIO()
    set_up_logs("debug", stream, {})
    logging.getLogger("waitress.queue").warning("Task queue depth is 1")
    logging.getLogger("waitress").info("Client disconnected while serving /")
    logging.getLogger("waitress").error("uncaptured python exception")
    assert [line["event"] for line in lines(stream)] == ["uncaptured python exception"]


def test_librdkafkas_lines_come_out_like_all_others() -> None:
    stream = io.StringIO()
    set_up_logs("info", stream, {})
    LOGGER.log(logging.ERROR, "%s [%s] %s", "FAIL", "rdkafka#consumer-1", "connect to localhost:1 failed")
    (line,) = lines(stream)
    assert line["logger"] == "librdkafka"
    assert line["level"] == "error"
    assert line["event"] == "FAIL [rdkafka#consumer-1] connect to localhost:1 failed"


@pytest.mark.parametrize(
    "fields",
    [
        {"sasl.password": "hunter2"},
        {"ssl.key.password": "hunter2"},
        {"registry_token": "hunter2"},
        {"basic.auth.user.info": "me:hunter2"},
        {"settings": {"client": {"sasl.password": "hunter2"}}},
        {"url": "https://me:hunter2@registry:8081/subjects"},
        {"line": 'sasl.password="hunter2"'},
        {"line": "password: hunter2, and more"},
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [io.StringIO, Terminal], ids=["json", "terminal"])
def test_secrets_stay_secret(stream: type[io.StringIO], fields: dict[str, object]) -> None:
    output = stream()
    set_up_logs("info", output, {"NO_COLOR": "1"})
    structlog.get_logger().info("connecting", **fields)
    assert "hunter2" not in output.getvalue()
    assert "***" in output.getvalue()
    assert "connecting" in output.getvalue()


def test_the_address_of_a_token_server_hides_nothing() -> None:
    stream = io.StringIO()
    set_up_logs("info", stream, {})
    said = 'no token from "https://login/oauth2/token": Connection refused'
    logging.getLogger("librdkafka").error(said)
    assert [line["event"] for line in lines(stream)] == [said]


def test_a_traceback_is_told_whole_but_for_secrets() -> None:
    stream = io.StringIO()
    set_up_logs("info", stream, {})
    try:
        int("https://me:hunter2@registry")
    except ValueError:
        structlog.get_logger().exception("lookup failed")
        logging.getLogger("urllib3").exception("lookup failed")
    ours, theirs = lines(stream)
    for line in (ours, theirs):
        assert "ValueError: invalid literal for int() with base 10: 'https://***@registry'" in str(line["exception"])


def test_a_second_set_up_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    set_up_logs("info", first, {})
    set_up_logs("info", second, {})
    structlog.get_logger().info("once")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1
