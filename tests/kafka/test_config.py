from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.errors import UsageError
from consumer.kafka.clients import LastClientError, make_admin, make_consumer, make_producer
from consumer.kafka.config import (
    FETCH_BYTES,
    admin_config,
    live_config,
    member_config,
    plain_producer_config,
    producer_config,
    reader_config,
    redact,
    restore_config,
    transactional_id,
)
from consumer.kafka.readers import make_reader
from consumer.runtime.secret import HIDDEN
from consumer.settings.model import CommitSettings, KafkaSettings, Settings


def settings(interval_ms: int = 100, **client: str | float | bool) -> Settings:
    given = {key.replace("_", "."): value for key, value in client.items()}
    return Settings(
        kafka=KafkaSettings(group_id="group", client=given),
        commit=CommitSettings(interval_ms=interval_ms, checkpoint_interval_ms=60_000),
    )


def test_the_consumer_reads_committed_records_and_commits_nothing_by_itself() -> None:
    for config in (member_config(settings()), live_config(settings()), restore_config(settings())):
        assert config["isolation.level"] == "read_committed"
        assert config["enable.auto.commit"] is False
        assert config["enable.auto.offset.store"] is False
        assert config["auto.offset.reset"] == "error"
        assert config["group.id"] == "group"
    assert member_config(settings())["partition.assignment.strategy"] == "cooperative-sticky"


def test_readers_have_nothing_of_a_member() -> None:
    given = settings(group_instance_id="one", session_timeout_ms=60_000, fetch_min_bytes=2)
    for config in (live_config(given), restore_config(given)):
        assert {"group.instance.id", "session.timeout.ms", "partition.assignment.strategy"}.isdisjoint(config)
        assert config["fetch.min.bytes"] == 2
        assert config["client.id"] != member_config(given)["client.id"]


def test_an_answer_to_a_fetch_is_small_and_holds_the_largest_message() -> None:
    for config in (live_config, restore_config):
        assert config(settings())["fetch.max.bytes"] == FETCH_BYTES
        assert config(settings(message_max_bytes=20_000_000))["fetch.max.bytes"] == 20_000_000
        assert config(settings(fetch_max_bytes=30_000_000))["fetch.max.bytes"] == 30_000_000


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("isolation.level", "read_uncommitted"),
        ("enable.auto.commit", True),
        ("enable.auto.offset.store", "true"),
        ("auto.commit.enable", True),
        ("auto.offset.reset", "latest"),
        ("enable.idempotence", False),
        ("acks", 1),
        ("request.required.acks", "0"),
        ("partition.assignment.strategy", "range"),
        ("group.protocol", "share"),
        ("allow.auto.create.topics", True),
        ("transactional.id", "mine"),
        ("group.id", "other"),
        ("statistics.interval.ms", 0),
        ("bootstrap.servers", "other:9092"),
        ("test.mock.num.brokers", 1),
    ],
)
def test_settings_that_would_break_exactly_once_are_refused_with_the_reason(key: str, value: str | int) -> None:
    given = Settings(kafka=KafkaSettings(client={key: value}))
    with pytest.raises(UsageError, match=rf"^kafka\.client\.{key}: .{{20,}}"):
        live_config(given)
    with pytest.raises(UsageError, match=rf"^kafka\.client\.{key}: "):
        member_config(given)
    with pytest.raises(UsageError, match=rf"^kafka\.client\.{key}: "):
        producer_config(given, "process")
    with pytest.raises(UsageError, match=rf"^kafka\.client\.{key}: "):
        admin_config(given.kafka)


@pytest.mark.parametrize(
    ("key", "value"),
    [("isolation.level", "read_committed"), ("enable.auto.commit", False), ("acks", -1), ("acks", "ALL")],
)
def test_setting_a_key_to_the_value_it_has_anyway_is_accepted(key: str, value: str | int) -> None:
    given = Settings(kafka=KafkaSettings(client={key: value}))
    assert live_config(given)["isolation.level"] == "read_committed"
    assert producer_config(given, "process")["acks"] == "all"


def test_by_the_consumer_protocol_a_member_is_given_nothing_that_only_the_classic_one_has() -> None:
    given = settings(group_protocol="Consumer", transaction_timeout_ms=60_000)
    config = member_config(given)
    assert config["group.protocol"] == "consumer"
    assert {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"}.isdisjoint(config)
    assert member_config(settings())["group.protocol"] == "classic"
    for reader in (live_config(given), restore_config(given), reader_config(given.kafka)):
        assert "group.protocol" not in reader


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("session.timeout.ms", 60_000),
        ("heartbeat.interval.ms", 1_000),
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("group.protocol.type", "consumer"),
    ],
)
def test_the_consumer_protocol_refuses_keys_of_the_classic_one_by_name(key: str, value: str | int) -> None:
    given = Settings(kafka=KafkaSettings(client={"group.protocol": "consumer", key: value}))
    for refused in (member_config, live_config, lambda each: admin_config(each.kafka)):
        with pytest.raises(
            UsageError, match=rf"^kafka\.client\.{key}: must be left out with group\.protocol=consumer: "
        ):
            refused(given)


def test_all_refusals_are_reported_at_once() -> None:
    with pytest.raises(UsageError) as refused:
        member_config(settings(acks=1, isolation_level="read_uncommitted", transaction_timeout_ms=60_000))
    assert [line.split(":")[0] for line in str(refused.value).splitlines()] == [
        "kafka.client.acks",
        "kafka.client.isolation.level",
        "kafka.client.transaction.timeout.ms",
    ]


@pytest.mark.parametrize(
    ("interval_ms", "client", "fault"),
    [
        (100, {}, None),
        (15_000, {}, None),
        (15_001, {}, "must be at least 20001"),
        (60_000, {"transaction_timeout_ms": 65_000, "session_timeout_ms": 90_000}, None),
        (60_000, {"transaction_timeout_ms": 64_999, "session_timeout_ms": 90_000}, "must be at least 65000"),
        (100, {"transaction_timeout_ms": 45_000}, r"must be below session.timeout.ms \(45000\)"),
        (100, {"session_timeout_ms": "20000"}, r"must be below session.timeout.ms \(20000\)"),
    ],
)
def test_the_transaction_timeout_is_longer_than_a_commit_interval_and_shorter_than_the_session(
    interval_ms: int, client: dict[str, int | str], fault: str | None
) -> None:
    given = settings(interval_ms, **client)
    if fault is None:
        assert producer_config(given, "process")["transactional.id"] == "group-process-7"
    else:
        with pytest.raises(UsageError, match=rf"^kafka\.client\.transaction\.timeout\.ms: {fault}"):
            producer_config(given, "process")


def test_the_record_limit_must_exceed_the_part_that_cannot_be_cut() -> None:
    assert producer_config(settings(message_max_bytes="131072"), "process")["message.max.bytes"] == 131_072
    with pytest.raises(UsageError, match=r"^kafka\.client\.message\.max\.bytes: must be at least 131072, not 131071:"):
        producer_config(settings(message_max_bytes="131071"), "process")
    with pytest.raises(UsageError, match=r"^kafka\.client\.message\.max\.bytes: must be a whole number"):
        producer_config(settings(message_max_bytes="1MB"), "process")


def test_the_producer_uses_the_smallest_limit_of_all_topics() -> None:
    assert producer_config(settings(), "process")["message.max.bytes"] == 1_000_000
    assert producer_config(settings(), "process", 200_000)["message.max.bytes"] == 200_000


def test_each_key_goes_to_the_clients_that_know_it() -> None:
    given = settings(session_timeout_ms=60_000, linger_ms=1, security_protocol="ssl", retries=7)
    consumer, producer = member_config(given), producer_config(given, "process")
    admin, plain = admin_config(given.kafka), plain_producer_config(given.kafka)
    assert ("session.timeout.ms" in consumer, "session.timeout.ms" in producer) == (True, False)
    assert ("retries" in consumer, producer["retries"], plain["linger.ms"]) == (False, 7, 1)
    assert {"session.timeout.ms", "retries", "linger.ms"}.isdisjoint(admin)
    assert all(each["security.protocol"] == "ssl" for each in (consumer, producer, admin, plain))


def test_keys_are_placed_as_by_java_clients_unless_configured_otherwise() -> None:
    assert producer_config(settings(), "p")["partitioner"] == "murmur2_random"
    assert plain_producer_config(settings().kafka)["partitioner"] == "murmur2_random"
    assert producer_config(settings(partitioner="consistent_random"), "p")["partitioner"] == "consistent_random"


@pytest.mark.parametrize(
    "member", [{"session_timeout_ms": 60_000}, {"group_protocol": "consumer"}, {"message_max_bytes": 20_000_000}]
)
def test_librdkafka_accepts_the_configuration_without_a_warning(
    member: dict[str, str | float | bool], caplog: pytest.LogCaptureFixture
) -> None:
    given = settings(100, retries=7, fetch_min_bytes=2, group_instance_id="a", check_crcs=True, **member)
    words = LastClientError()
    consumer = make_consumer(member_config(given), words)
    readers = [make_reader(config(given), words) for config in (live_config, restore_config)]
    producer = make_producer(producer_config(given, "process"), words, lambda _error, _message: None)
    plain = make_producer(plain_producer_config(given.kafka), words, lambda _error, _message: None)
    admin = make_admin(admin_config(given.kafka), words)
    for client in (producer, plain, admin):
        client.poll(0)
    consumer.poll(0)
    consumer.close()
    for reader in readers:
        reader.poll(1, 0.0)
        reader.close()
    assert [record.getMessage() for record in caplog.records if "CONFWARN" in record.getMessage()] == []


@pytest.mark.parametrize(
    ("client", "message"),
    [
        ({"sesion_timeout_ms": 1}, '"sesion.timeout.ms"'),
        ({"session_timeout_ms": "soon"}, '"session.timeout.ms"'),
        ({"socket_timeout_ms": -5}, '"socket.timeout.ms"'),
    ],
)
def test_a_key_that_librdkafka_refuses_is_a_usage_error_with_its_name(client: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=r"^kafka\.client: ") as refused:
        make_consumer(member_config(settings(**client)), LastClientError())
    assert message in str(refused.value)
    if "session" in str(client):
        return  # readers are not given it
    with pytest.raises(UsageError, match=r"^kafka\.client: ") as refused:
        make_reader(live_config(settings(**client)), LastClientError())
    assert message in str(refused.value)


def test_a_stable_instance_id_keeps_its_transactional_id() -> None:
    named = KafkaSettings(group_id="group", client={"group.instance.id": "worker-3"})
    assert transactional_id(named, "1f3a") == transactional_id(named, "77bc") == "group-worker-3-8"
    unnamed = KafkaSettings(group_id="group")
    assert transactional_id(unnamed, "1f3a") != transactional_id(unnamed, "77bc")


@given(*[st.text("ab-19", min_size=1, max_size=6)] * 4)
@example("a", "b-c", "a-b", "c")
@example("a", "b-5-c", "a-1-b", "c")
def test_workers_of_different_groups_or_names_share_no_transactional_id(
    group: str, worker: str, other_group: str, other_worker: str
) -> None:
    def id_of(group: str, worker: str) -> str:
        made = transactional_id(KafkaSettings(group_id=group, client={"group.instance.id": worker}), "unused")
        assert made.startswith(f"{group}-"), "rights are granted for that"
        return made

    same = (group, worker) == (other_group, other_worker)
    assert (id_of(group, worker) == id_of(other_group, other_worker)) == same


def test_secrets_are_hidden_and_other_values_are_shown() -> None:
    secrets = [
        "sasl.password",
        "ssl.key.password",
        "ssl.keystore.password",
        "ssl.key.pem",
        "ssl_key",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.assertion.private.key.pem",
        "sasl.oauthbearer.assertion.private.key.passphrase",
    ]
    shown = ["sasl.username", "sasl.oauthbearer.token.endpoint.url", "ssl.ca.location", "security.protocol"]
    assert set(redact(dict.fromkeys(secrets, "x")).values()) == {HIDDEN}
    assert set(redact(dict.fromkeys(shown, "x")).values()) == {"x"}


@given(st.dictionaries(st.text(max_size=30), st.text(min_size=1, max_size=30)))
def test_hiding_secrets_keeps_the_keys_and_their_order(config: dict[str, str]) -> None:
    assert list(redact(dict(config))) == list(config)
