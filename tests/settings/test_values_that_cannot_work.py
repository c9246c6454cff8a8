"""Values that are of the right type and still cannot work are errors when the settings are read."""

import pytest

from consumer.errors import UsageError
from consumer.settings.model import load_settings


def error_of(*overrides: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_settings(None, overrides, {})
    (line,) = str(caught.value).splitlines()
    assert line.startswith("--set: ")
    return line.removeprefix("--set: ")


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("$.a", 'did you mean "a"?'),
        ("$.content.id", 'did you mean "content.id"?'),
        ("$", ""),
        ("/content/id", 'did you mean "content.id"?'),
        ("#/content/id", 'did you mean "content.id"?'),
        (".content.id", 'did you mean "content.id"?'),
        ("content.id.", 'did you mean "content.id"?'),
        ("content..id", 'did you mean "content.id"?'),
        (" content.id", 'did you mean "content.id"?'),
        ("tags['id']", 'did you mean "tags.id"?'),
        ('$["content"]["id"]', 'did you mean "content.id"?'),
        ("a[0].b", "no path leads into an array"),
        ("a[].b", "no path leads into an array"),
        ("a[*].b", "no path leads into an array"),
        ("a.*.b", "no path leads into an array"),
        ("a]", ""),
        ("..", ""),
    ],
)
def test_other_notations_of_paths_are_refused_with_what_ours_looks_like(path: str, hint: str) -> None:
    key, text = error_of(f"input.fields.stream_id={{path='''{path}'''}}").split(": ", 1)
    assert key == "input.fields.stream_id.path"
    rule = f'must be a field name, or several with dots between, as "content.id", not "{path}"'
    assert text == (f"{rule}; {hint}" if hint else rule)


@pytest.mark.parametrize("path", ["id", "content.id", "tags.my key", "tags.x-id", "tags.$id", "a_1.B", "tags.größe"])
def test_a_step_may_be_any_key_of_a_map(path: str) -> None:
    found = load_settings(None, [f"input.fields.viewer_id={path}"], {}).input.fields.viewer_id
    assert found is not None
    assert found.path == path


@pytest.mark.parametrize(
    ("servers", "hint"),
    [
        ("http://kafka:9092", 'leave out "http://"'),
        ("kafka-1:9092,https://kafka-2:9092", 'leave out "https://"'),
        ("kafka://kafka:9092", 'leave out "kafka://"'),
        ("kafka:9092/", 'not "kafka:9092/"'),
        ("kafka:0", '"0" is not a port from 1 to 65535'),
        ("kafka:65536", '"65536" is not a port from 1 to 65535'),
        ("kafka:", '"" is not a port from 1 to 65535'),
        ("kafka:9092:9093", 'not "kafka:9092:9093"'),
        ("kafka:port", 'not "kafka:port"'),
        ("kafka-1:9092;kafka-2:9092", 'not "kafka-1:9092;kafka-2:9092"'),
        ("kafka-1:9092 kafka-2:9092", 'not "kafka-1:9092 kafka-2:9092"'),
        ("${KAFKA}:9092", 'not "${KAFKA}:9092"'),
        ("[kafka:9092]", 'not "[kafka:9092]"'),
        ("kafka-1:9092,", "one is empty"),
        ("", "one is empty"),
    ],
)
def test_addresses_of_brokers_are_hosts_and_ports(servers: str, hint: str) -> None:
    expected = f'kafka.bootstrap_servers: must be one or more addresses as "host:port", with commas between; {hint}'
    assert error_of(f"kafka.bootstrap_servers={servers}") == expected.replace("; not", ", not")


@pytest.mark.parametrize(
    "servers", ["kafka", "kafka:1", "a:9092, b:65535", "[::1]:9092", "10.0.0.1:9092", "my_broker:9092", "SSL://a:9093"]
)
def test_addresses_that_librdkafka_takes_are_taken(servers: str) -> None:
    assert load_settings(None, [f"kafka.bootstrap_servers={servers}"], {}).kafka.bootstrap_servers == servers


def test_a_password_in_an_address_is_not_shown() -> None:
    assert "hunter2" not in error_of("kafka.bootstrap_servers=me:hunter2@kafka:9092")


@pytest.mark.parametrize("host", ["0.0.0.0:9464", "http://0.0.0.0", "a b", "::1:x", "localhost/metrics"])
def test_the_host_of_metrics_is_a_host(host: str) -> None:
    assert error_of(f"http.host={host}").startswith("http.host: must be a host name or an address, ")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::", "::1", "fe80::1%eth0", "metrics.internal"])
def test_hosts_of_metrics(host: str) -> None:
    assert load_settings(None, [f"http.host={host}"], {}).http.host == host


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["input.format=raw", "input.schema_registry_url=http://r"],
            'input.schema_registry_url: has no effect where input.format = "raw": its records name no id',
        ),
        (
            ["input.format=single-object", "input.ids.7=a.avsc"],
            'input.ids: has no effect where input.format = "single-object": its records name no id',
        ),
        (
            ["input.schemas=a.avsc", "input.schema_registry_url=http://r"],
            "input.schemas: has no effect: the schemas are those of input.schema_registry_url; leave out one of them",
        ),
        (
            ["input.schema_registry_url=HTTP://r", "input.schema_registry_ca_file=ca.pem"],
            "input.schema_registry_ca_file: has no effect: input.schema_registry_url begins with http://",
        ),
        (
            ["input.schema_registry_url=http://r", "input.schema_registry_certificate_file=ours.pem"],
            "input.schema_registry_certificate_file: has no effect: input.schema_registry_url begins with http://",
        ),
        (["kafka.msk_iam_region=Frankfurt"], 'kafka.msk_iam_region: must be an AWS region, as "eu-central-1"'),
        (
            ["input.schema_registry_url=http://r/subjects?deleted=true"],
            "input.schema_registry_url: must be an http:// or https:// address without ? and #",
        ),
        (
            ["input.schema_registry_url=http://my host"],
            "input.schema_registry_url: must be an http:// or https:// address",
        ),
        (["input.key_format=confluent"], 'input.key_format: has no effect: no id of input.fields is "@key"'),
        (["kafka.output_topic=__consumer_offsets"], "kafka.output_topic: must not be a topic that Kafka itself uses"),
        (
            ["kafka.input_topic=v.e", "kafka.output_topic=v_e"],
            'kafka.output_topic: "v_e" collides with kafka.input_topic ("v.e"): to brokers . and _ are the same',
        ),
    ],
)
def test_settings_without_effect_and_topics_that_collide_are_errors(overrides: list[str], line: str) -> None:
    assert error_of(*overrides) == line


def test_an_invalid_value_leads_to_no_second_error() -> None:
    line = error_of("input.schema_registry_url=registry:8081", "input.schema_registry_token=x")
    assert line == "input.schema_registry_url: must be an http:// or https:// address"
