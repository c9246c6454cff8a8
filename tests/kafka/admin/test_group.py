"""The session's time-out, which brokers set under KIP-848, is compared at the start; on a real broker."""

import time

import pytest

from consumer.errors import UsageError
from consumer.kafka.admin.group import check_group
from consumer.kafka.timeouts import TIMEOUTS
from consumer.settings.model import KafkaSettings
from tests.support.topics import configure_group, unique


def settings(
    servers: str, group: str = "group", protocol: str = "consumer", transaction_ms: int = 20_000
) -> KafkaSettings:
    client: dict[str, str | int | float | bool] = {"group.protocol": protocol, "transaction.timeout.ms": transaction_ms}
    return KafkaSettings(bootstrap_servers=servers, group_id=group, client=client)


def test_the_brokers_time_out_rules(bootstrap_servers: str) -> None:
    group = unique("group")
    check_group(settings(bootstrap_servers, group, transaction_ms=44_999))
    with pytest.raises(
        UsageError,
        match=r"transaction\.timeout\.ms: must be below the group's consumer\.session\.timeout\.ms \(45000\)",
    ):
        check_group(settings(bootstrap_servers, group, transaction_ms=45_000))
    configure_group(bootstrap_servers, group, "consumer.session.timeout.ms", 6_000)
    check_group(settings(bootstrap_servers, group, transaction_ms=5_999))
    with pytest.raises(UsageError, match=r"\(6000\), not 6000, so that"):
        check_group(settings(bootstrap_servers, group, transaction_ms=6_000))


def test_without_an_answer_their_default_is_taken_soon() -> None:
    began = time.monotonic()
    timeouts = TIMEOUTS._replace(cluster_s=0.5)
    check_group(settings("127.0.0.1:1"), timeouts)
    with pytest.raises(UsageError, match=r"\(45000\), not 45000"):
        check_group(settings("127.0.0.1:1", transaction_ms=45_000), timeouts)
    assert time.monotonic() - began < 10


def test_by_the_classic_protocol_no_broker_is_asked() -> None:
    check_group(settings("127.0.0.1:1", protocol="classic", transaction_ms=60_000))
