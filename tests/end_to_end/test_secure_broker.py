"""A worker on a broker with TLS, SASL and ACLs: it runs with the documented rights, and names a missing one."""

import contextlib
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.cimpl import NewTopic

from consumer.cli.main import run_command
from consumer.errors import ViewerConsumerError
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.runtime.signals import StopRequest
from consumer.settings.model import HttpSettings, KafkaSettings, Settings, WindowSettings
from consumer.worker.service import Service
from tests.cli.command import run_here
from tests.end_to_end.events import SCHEMA_ID, SCHEMA_PATH, encoded
from tests.end_to_end.stage import INPUT, STOP_TIMEOUT_S, running
from tests.reference.events_counting import Event
from tests.support.broker import NoBrokerError
from tests.support.secure_broker import MECHANISMS, Acl, SecureBroker, secure_broker
from tests.support.topics import unique
from tests.support.waiting import until

WINDOWS = WindowSettings(window_duration_ms=5_000, bucket_ms=1_000, grace_ms=0)
REPORT_TIMEOUT_S = 60.0
SHORT = TIMEOUTS._replace(cluster_s=2.0)
"""For a client that never gets in: the error is reported once this time is up."""


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    with contextlib.ExitStack() as stack:
        try:
            broker = stack.enter_context(secure_broker(tmp_path_factory.mktemp("broker")))
        except NoBrokerError as reason:
            pytest.skip(f"no real broker with this configuration: {reason}")
        yield broker


class Topics:
    """Topics of one worker, created by an administrator, with an event and an invalid record in the input."""

    def __init__(self, secure: SecureBroker) -> None:
        self._secure = secure
        self.kafka = KafkaSettings(
            bootstrap_servers=secure.bootstrap_servers,
            group_id=unique("group"),
            input_topic=unique("events"),
            output_topic=unique("summaries"),
            state_topic=unique("state"),
            dead_letter_topic=unique("dead-letters"),
            create_topics=False,
        )
        kafka = self.kafka
        names = {kafka.input_topic: "delete", kafka.output_topic: "delete", kafka.dead_letter_topic: "delete"}
        made = [
            NewTopic(name, num_partitions=1, replication_factor=1, config={"cleanup.policy": policy})
            for name, policy in {**names, kafka.state_topic: "compact"}.items()
        ]
        for future in secure.admin.create_topics(made).values():
            future.result(15)
        self._write()

    def _write(self) -> None:
        now_ms = time.time_ns() // 1_000_000 - 10_000
        producer = Producer({"bootstrap.servers": self._secure.bootstrap_servers, **self._secure.admin_client})
        for value in (encoded(Event("s", "J", now_ms)), b"\0\0\0\0", encoded(Event("s", "J", now_ms + 5_000))):
            producer.produce(self.kafka.input_topic, value, b"k")
        assert producer.flush(30) == 0

    def acls(self) -> dict[str, Acl]:
        """All rights that a worker needs if it creates no topics, as documented."""
        kafka, topic = self.kafka, ResourceType.TOPIC
        return {
            "read the input": Acl(topic, kafka.input_topic, AclOperation.READ),
            "write summaries": Acl(topic, kafka.output_topic, AclOperation.WRITE),
            "write dead letters": Acl(topic, kafka.dead_letter_topic, AclOperation.WRITE),
            "read state": Acl(topic, kafka.state_topic, AclOperation.READ),
            "write state": Acl(topic, kafka.state_topic, AclOperation.WRITE),
            "be of the group": Acl(ResourceType.GROUP, kafka.group_id, AclOperation.READ),
            "begin transactions": Acl(
                ResourceType.TRANSACTIONAL_ID, f"{kafka.group_id}-", AclOperation.WRITE, ResourcePatternType.PREFIXED
            ),
        }

    def settings(self, client: dict[str, str]) -> Settings:
        return Settings(
            kafka=self.kafka.model_copy(update={"client": client}),
            input=INPUT,
            windows=WINDOWS,
            http=HttpSettings(host="127.0.0.1", port=0),
        )

    def run_once(self) -> None:
        """Run a worker with all rights, so that there is state for the next one to restore."""
        self._secure.grant_only(list(self.acls().values()))
        with running(self.settings(self._secure.client())):
            until(lambda: len(self.published(self.kafka.state_topic)) > 0, "state is written")

    def published(self, topic: str) -> list[Message]:
        """Return what is committed in a topic of one partition now."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._secure.bootstrap_servers,
                "group.id": unique("reader"),
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                **self._secure.admin_client,
            }
        )
        try:
            consumer.assign([TopicPartition(topic, 0, 0)])
            return consumer.consume(10, 1.0)
        finally:
            consumer.close()


def failure(settings: Settings, timeouts: Timeouts = TIMEOUTS) -> str:
    """Return the one-line error with which a worker ended; it must end by itself."""
    stop = StopRequest()
    timer = threading.Timer(REPORT_TIMEOUT_S, stop.set)
    timer.start()
    try:
        with pytest.raises(ViewerConsumerError) as error:
            Service(settings, timeouts=timeouts).run(stop)
    finally:
        timer.cancel()
        timer.join(STOP_TIMEOUT_S)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_it_runs_with_the_documented_rights_and_never_shows_its_password(
    secure: SecureBroker, mechanism: str, capfd: pytest.CaptureFixture[str]
) -> None:
    topics = Topics(secure)
    secure.grant_only(list(topics.acls().values()))
    client = secure.client(mechanism)
    with running(topics.settings(client)) as service:
        until(lambda: len(topics.published(topics.kafka.dead_letter_topic)) == 1, "the dead letter is written")
        until(lambda: len(topics.published(topics.kafka.output_topic)) > 0, "buckets are published")
        with urllib.request.urlopen(f"{service.address}/metrics", timeout=10) as answer:  # noqa: S310  # the worker's own address
            metrics = answer.read().decode()
    flags = [part for key, value in client.items() for part in ("--set", f"kafka.client.{key}={value}")]
    assert run_command(["config", *flags]) == 0
    printed = capfd.readouterr()
    assert "partitions assigned" in printed.out + printed.err
    assert '"sasl.password" = "***"' in printed.out
    assert "viewer_consumer_commits_total" in metrics
    assert secure.password not in printed.out + printed.err + metrics


RIGHTS = (
    "read the input",
    "write summaries",
    "write dead letters",
    "read state",
    "write state",
    "be of the group",
    "begin transactions",
)


@pytest.mark.parametrize("right", RIGHTS)
def test_each_missing_right_is_named(secure: SecureBroker, right: str) -> None:
    topics = Topics(secure)
    if right == "read state":
        topics.run_once()
    acls = topics.acls()
    missing = acls.pop(right)
    secure.grant_only(list(acls.values()))
    error = failure(topics.settings(secure.client()))
    assert missing.name in error
    assert "authorization failed" in error
    assert "check the user, its password and its permissions" in error


def test_the_consumer_protocol_needs_no_other_rights(secure: SecureBroker) -> None:
    topics = Topics(secure)
    secure.grant_only(list(topics.acls().values()))
    with running(topics.settings({**secure.client(), "group.protocol": "consumer"})):
        until(lambda: len(topics.published(topics.kafka.output_topic)) > 0, "buckets are published")


@pytest.mark.parametrize("right", ["read the input", "be of the group"])
def test_by_the_consumer_protocol_too_a_missing_right_is_named(secure: SecureBroker, right: str) -> None:
    topics = Topics(secure)
    acls = topics.acls()
    missing = acls.pop(right)
    secure.grant_only(list(acls.values()))
    error = failure(topics.settings({**secure.client(), "group.protocol": "consumer"}))
    assert missing.name in error
    assert "authorization failed" in error.lower()
    assert "check the user, its password and its permissions" in error


@pytest.mark.parametrize("right", RIGHTS)
def test_describe_alone_is_not_enough(secure: SecureBroker, right: str) -> None:
    topics = Topics(secure)
    if right == "read state":
        topics.run_once()
    acls = topics.acls()
    less = acls[right] = acls[right]._replace(operation=AclOperation.DESCRIBE)
    secure.grant_only(list(acls.values()))
    error = failure(topics.settings(secure.client()))
    assert less.name in error
    assert "check the user, its password and its permissions" in error


def retry_acls(kafka: KafkaSettings) -> dict[str, Acl]:
    """All rights that `dlq retry` needs, as documented."""
    topic = ResourceType.TOPIC
    return {
        "read dead letters": Acl(topic, kafka.dead_letter_topic, AclOperation.READ),
        "write the input": Acl(topic, kafka.input_topic, AclOperation.WRITE),
        "read state": Acl(topic, kafka.state_topic, AclOperation.READ),
        "see the group": Acl(ResourceType.GROUP, kafka.group_id, AclOperation.DESCRIBE),
    }


def retry_flags(topics: Topics, client: dict[str, str]) -> list[str]:
    kafka = topics.kafka.model_dump(exclude_defaults=True)
    chosen = {f"kafka.{key}": value for key, value in kafka.items()} | {
        f"kafka.client.{key}": value for key, value in client.items()
    }
    windows = WINDOWS.model_dump(exclude_defaults=True)
    chosen |= {f"windows.{key}": value for key, value in windows.items()} | {f"input.ids.{SCHEMA_ID}": SCHEMA_PATH}
    return [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]


def with_a_dead_letter(secure: SecureBroker) -> Topics:
    topics = Topics(secure)
    secure.grant_only(list(topics.acls().values()))
    with running(topics.settings(secure.client())):
        until(lambda: len(topics.published(topics.kafka.dead_letter_topic)) == 1, "the dead letter is written")
    return topics


def test_dead_letters_are_sent_again_with_the_documented_rights(
    secure: SecureBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    topics = with_a_dead_letter(secure)
    acls = retry_acls(topics.kafka)
    secure.grant_only([acls["read dead letters"], acls["see the group"]])
    capsys.readouterr()
    ran = run_here(capsys, "dlq", "list", *retry_flags(topics, secure.client()))
    assert ran.code == 0, ran.err
    assert "  bad_framing  " in ran.out
    secure.grant_only(list(acls.values()))
    ran = run_here(capsys, "dlq", "retry", *retry_flags(topics, secure.client()))
    assert (ran.code, ran.err) == (0, "")
    assert "rejected again by these settings: bad_framing" in ran.out
    assert secure.password not in ran.out
    ran = run_here(capsys, "dlq", "retry", "--yes", "--force", *retry_flags(topics, secure.client()))
    assert (ran.code, ran.err) == (0, "")
    assert len(topics.published(topics.kafka.input_topic)) == 4


@pytest.mark.parametrize("right", ["read dead letters", "write the input", "read state", "see the group"])
def test_each_right_that_sending_again_lacks_is_named(
    secure: SecureBroker, capsys: pytest.CaptureFixture[str], right: str
) -> None:
    topics = with_a_dead_letter(secure)
    acls = retry_acls(topics.kafka)
    missing = acls.pop(right)
    if right == "write the input":
        acls[right] = missing._replace(operation=AclOperation.DESCRIBE)
    secure.grant_only(list(acls.values()))
    capsys.readouterr()
    force = ["--force"] if right == "write the input" else []
    ran = run_here(capsys, "dlq", "retry", "--yes", *force, *retry_flags(topics, secure.client()))
    assert ran.code == 1
    (line,) = ran.error_lines
    assert missing.name in line
    assert "authorization failed" in line
    assert "check the user, its password and its permissions" in line
    assert len(topics.published(topics.kafka.input_topic)) == 3


def test_a_wrong_password_is_reported_but_not_shown(secure: SecureBroker) -> None:
    topics = Topics(secure)
    error = failure(topics.settings(secure.client(password="canary-wrong")), SHORT)
    assert "check the user, its password and its permissions" in error
    assert "canary" not in error


def test_an_untrusted_certificate_of_the_broker_is_reported(secure: SecureBroker) -> None:
    topics = Topics(secure)
    client = secure.client()
    del client["ssl.ca.location"]
    error = failure(topics.settings(client), SHORT)
    assert "certificate verify failed" in error
