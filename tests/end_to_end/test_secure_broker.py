"""A worker on a broker with TLS, SASL and ACLs: it runs with the documented rights, and names a missing one."""

import urllib.request
from collections.abc import Iterator

import pytest
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._resource import ResourceType

from consumer.cli.main import run_command
from consumer.settings.model import KafkaSettings
from tests.cli.command import run_here
from tests.end_to_end.events import SCHEMA_ID, SCHEMA_PATH
from tests.end_to_end.secure_topics import SHORT, WINDOWS, Topics, failure, or_skipped
from tests.end_to_end.stage import running
from tests.support.secure_broker import MECHANISMS, Acl, SecureBroker, secure_broker
from tests.support.waiting import until


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    with or_skipped(secure_broker(tmp_path_factory.mktemp("broker"))) as broker:
        yield broker


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
