from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from consumer.errors import UsageError
from consumer.settings.field_sources import FieldSettings
from consumer.settings.model import (
    KafkaSettings,
    Settings,
    WindowSettings,
    load_settings,
)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def errors_of(
    config: Path | None = None, overrides: list[str] | None = None, environ: dict[str, str] | None = None
) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load_settings(config, overrides or [], environ or {})
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


@pytest.mark.parametrize("name", ["windows.grace_ms", "commit.interval_ms", "input.max_future_ms"])
@pytest.mark.parametrize(("text", "span_ms"), [("250", 250), ("1.5s", 1_500), ("500ms", 500), ("10s", 10_000)])
def test_a_span_may_have_a_unit(tmp_path: Path, name: str, text: str, span_ms: int) -> None:
    section, _, key = name.partition(".")
    config = written(tmp_path, f'[{section}]\n{key} = "{text}"\n')
    for settings in (load_settings(config, [], {}), load_settings(None, [f"{name}={text}"], {})):
        assert getattr(getattr(settings, section), key) == span_ms


def test_a_span_in_an_unknown_unit_is_an_error() -> None:
    with pytest.raises(UsageError, match=r'windows\.grace_ms: must be .*"10 seconds"'):
        load_settings(None, ["windows.grace_ms=10 seconds"], {})


def test_without_any_layer_the_defaults_are_in_force() -> None:
    settings = load_settings(None, [], {})
    assert settings == Settings()
    assert (settings.windows.window_duration_ms, settings.windows.bucket_ms, settings.windows.grace_ms) == (
        60000,
        10000,
        10000,
    )
    assert (settings.kafka.input_topic, settings.http.port, settings.commit.interval_ms) == ("viewer-events", 9464, 100)


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    config = written(tmp_path, "[windows]\nbucket_ms = 10\ngrace_ms = 1\nwindow_duration_ms = 10\n")
    environ = {"VIEWER_CONSUMER_WINDOWS__BUCKET_MS": "20", "VIEWER_CONSUMER_WINDOWS__WINDOW_DURATION_MS": "20"}
    windows = load_settings(config, ["windows.window_duration_ms=30"], environ).windows
    assert (windows.grace_ms, windows.bucket_ms, windows.window_duration_ms) == (1, 20, 30)
    assert windows.stream_idle_ms == 60000


def test_commands_in_messages_have_the_options_of_this_process_without_its_secrets(tmp_path: Path) -> None:
    file = tmp_path / "my settings.toml"
    file.write_text('kafka.group_id = "g"')
    overrides = [
        "kafka.bootstrap_servers=b:9092",
        "kafka.client.sasl.password=hunter2",
        "kafka.client.ssl.key.password=x",
    ]
    assert load_settings(file, overrides, {}).command("state reset --partition 3") == (
        f"viewer-consumer state reset --partition 3 --config '{file}' --set kafka.bootstrap_servers=b:9092 "
        "--set 'kafka.client.sasl.password=***' --set 'kafka.client.ssl.key.password=***'"
    )
    assert load_settings(None, [], {}).command("state check") == "viewer-consumer state check"


def test_the_last_of_two_flags_wins() -> None:
    assert load_settings(None, ["http.port=1", "http.port=2"], {}).http.port == 2


def test_tables_are_merged_key_by_key(tmp_path: Path) -> None:
    config = written(tmp_path, '[kafka.client]\nsecurity.protocol = "SSL"\n"linger.ms" = 5\n')
    environ = {"VIEWER_CONSUMER_KAFKA__CLIENT__SASL_PASSWORD": "x", "VIEWER_CONSUMER_KAFKA__CLIENT": '{"a.b": true}'}
    client = load_settings(config, ["kafka.client.linger.ms=7"], environ).kafka.client
    assert client == {"security.protocol": "SSL", "sasl.password": "x", "a.b": True, "linger.ms": "7"}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("input.schemas=a.avsc", (Path("a.avsc"),)),
        ('input.schemas=["a.avsc", "b.avsc"]', (Path("a.avsc"), Path("b.avsc"))),
        ("input.schemas=['a.avsc']", (Path("a.avsc"),)),
    ],
)
def test_a_list_is_json_or_toml_or_one_item(override: str, expected: tuple[Path, ...]) -> None:
    assert load_settings(None, ["input.format=single-object", override], {}).input.schemas == expected


def test_ids_fields_and_event_names_are_taken_from_every_layer(tmp_path: Path) -> None:
    config = written(
        tmp_path,
        """
        [input]
        ids = { 1 = "a.avsc" }
        [input.fields]
        stream_id = "content.id"
        bitrate_bps = { path = "kbps", scale = 1000 }
        [input.events]
        join = ["PlaybackStarted", "Heartbeat"]
        """,
    )
    environ = {"VIEWER_CONSUMER_INPUT__IDS__7": "b.avsc", "VIEWER_CONSUMER_INPUT__EVENTS__LEAVE": "Ended"}
    source = load_settings(config, ["input.fields.duration_ms={path='seconds', scale=0.5}"], environ).input
    assert source.ids == {1: Path("a.avsc"), 7: Path("b.avsc")}
    assert source.fields.stream_id is not None
    assert source.fields.bitrate_bps is not None
    assert source.fields.duration_ms is not None
    assert source.fields.viewer_id is None
    assert (source.fields.stream_id.path, source.fields.stream_id.scale) == ("content.id", 1)
    assert (source.fields.bitrate_bps.path, source.fields.bitrate_bps.scale) == ("kbps", 1000)
    assert source.fields.duration_ms.scale == 0.5
    assert (source.events.join, source.events.leave) == (("PlaybackStarted", "Heartbeat"), ("Ended",))


def test_a_field_may_be_the_first_of_several_paths_or_be_joined(tmp_path: Path) -> None:
    config = written(
        tmp_path,
        """
        [input.fields]
        stream_id = ["content.id", { path = "geo", default = "" }, { first = ["a", "@key"] }]
        viewer_id = "@key"
        timestamp_ms = { path = "at", text_without_offset = "utc" }
        bitrate_bps = { first = [{ path = "kbps", scale = 1000 }, "bps"] }
        [input.events]
        join = [1, "2"]
        leave = false
        """,
    )
    source = load_settings(config).input
    stream_id, bitrate_bps = source.fields.stream_id, source.fields.bitrate_bps
    assert stream_id is not None
    assert bitrate_bps is not None
    assert list(stream_id.paths()) == ["content.id", "geo", "a", "@key"]
    assert [part.default for part in stream_id.joined] == [None, "", None]
    assert [bitrate_bps.scale_of(each) for each in bitrate_bps.alternatives] == [1000, 1]
    assert (source.events.join, source.events.leave) == (("1", "2"), ("false",))


@pytest.mark.parametrize(
    "place", ["content.id", {"path": "kbps", "scale": 1000}, {"first": ["a"], "scale": 2}, ["a", "b"]]
)
def test_what_checkpoints_hold_of_a_field_is_read_as_the_same(place: Any) -> None:
    fields = FieldSettings.model_validate({"bitrate_bps" if "scale" in place else "stream_id": place})
    dumped = fields.model_dump(mode="json")
    assert FieldSettings.model_validate(dumped).model_dump(mode="json") == dumped
    if place == "content.id":
        assert dumped["stream_id"] == {"path": "content.id", "scale": 1}, "as earlier releases wrote it"
    again = FieldSettings.model_validate(dumped).bitrate_bps
    assert again is None or [again.scale_of(each) for each in again.alternatives] == [place["scale"]]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("windows.bucket_ms=0", "must be at least 1"),
        ("windows.bucket_ms=1.5", "must be a whole number"),
        ("windows.bucket_ms=ten", 'must be a whole number, not "ten"'),
        ("windows.grace_ms=-1", "must be at least 0"),
        ("windows.window_duration_ms=1099511627777", "must be at most 1099511627776"),
        ("windows.counting=viewers", 'must be "events" or "sessions", not "viewers"'),
        ("windows.max_events_per_viewer_bucket=256", "must be at most 255"),
        ("windows.viewer_timeout_ms=9999", "must be at least windows.bucket_ms (10000), not 9999"),
        ("windows.window_duration_ms=9999", "must be at least windows.bucket_ms (10000), not 9999"),
        ("windows.bucket_ms=6", "at most 10000 are allowed"),
        ("windows.max_streams=0", "must be at least 1"),
        ("http.port=65536", "must be at most 65535"),
        ("http.port=-1", "must be at least 0"),
        ("commit.interval_ms=9", "must be at least 10"),
        ("commit.checkpoint_interval_ms=99", "must be at least commit.interval_ms (100), not 99"),
        ("kafka.create_topics=maybe", 'must be true or false, not "maybe"'),
        ("kafka.input_topic=a b", "must be a topic name"),
        ("kafka.input_topic=..", "must be a topic name"),
        ("kafka.output_topic=viewer-events", 'is "viewer-events", as kafka.input_topic is'),
        ("kafka.group_id=", "must not be empty"),
        ("kafka.bootstrap_servers=a:9092,,b:9092", 'must be one or more addresses as "host:port"'),
        ("kafka.client=x", "must be a table"),
        ("kafka.client.a=[1]", "must be text, a number, or true or false"),
        ("input.schema_registry_url=localhost:8081", "must be an http:// or https:// address"),
        ("input.schema_registry_url=http://", "must be an http:// or https:// address"),
        ("input.schema_registry_url=http://a:99999", "must be an http:// or https:// address"),
        ("input.ids.x=a.avsc", 'must be a whole number, not "x"'),
        ("input.fields.stream_id=a..b", "must be a field name, or several with dots between"),
        ("input.fields.bitrate_bps.scale=2", "is missing"),
        ("input.fields.bitrate_bps={path='a', scale=0}", "must be a number above 0"),
        ("input.fields.viewer_id={path='a', scale=2}", "is for numbers only"),
        ("input.fields.viewer_id=['a', {path='b', scale=2}]", "is for numbers only"),
        ("input.fields.viewer_id={first=['a', {path='b', scale=2}]}", "is for numbers only"),
        ("input.fields.timestamp_ms=['a', 'b']", "must be a path or a table, as { path ="),
        ("input.fields.type=['a']", "must be a path or a table, as { path ="),
        ("input.fields.stream_id=['a', ['b']]", "must be a path or a table"),
        ("input.fields.stream_id=['a', {pth='b'}]", "did you mean input.fields.stream_id[1].path?"),
        ("input.fields.stream_id=[]", "must not be empty"),
        ("input.fields.stream_id=['1','2','3','4','5','6','7','8','9']", "must be a list of at most 8, not 9"),
        ("input.fields.stream_id={first=[]}", "must not be empty"),
        ("input.fields.stream_id={first=['a'], path='b'}", "only one of path and first may be given"),
        ("input.fields.stream_id={first=[{path='a', default='b'}]}", "unknown key; there are path, scale"),
        ("input.fields.stream_id={default='b'}", "path is missing"),
        ("input.fields.bitrate_bps={path='a', default='0'}", "is for ids only"),
        ("input.fields.type=@key", '"@key" is for ids only'),
        ("input.fields.timestamp_ms={first=['a', '@key']}", '"@key" is for ids only'),
        ("input.fields.stream_id=@header", 'must be a field name, or "@key" for the key of the record'),
        ("input.fields.timestamp_ms={path='a', text_without_offset='local'}", 'must be "utc", not "local"'),
        ("input.fields.viewer_id={path='a', text_without_offset='utc'}", "is for input.fields.timestamp_ms only"),
        ("input.key_format=avro", 'must be "text" or "confluent", not "avro"'),
        ("output.format=confluent", "needs input.schema_registry_url"),
        ("output.format=xml", 'must be "json" or "confluent"'),
    ],
)
def test_what_is_not_allowed_is_said_in_one_line(override: str, message: str) -> None:
    (line,) = errors_of(overrides=[override])
    where, key, text = line.split(": ", 2)
    assert where == "--set"
    assert key.partition(".")[0] == override.partition(".")[0]
    assert message in text


def test_an_ignored_event_type_is_in_no_other_list(tmp_path: Path) -> None:
    config = written(tmp_path, '[input.events]\njoin = ["Started", "Beat"]\nheartbeat = "Beat"\nignore = "Beat"\n')
    sentence = "an event type that is ignored is in no other list"
    assert errors_of(config) == [
        f'{config}: input.events.ignore: is "Beat", as input.events.{kind} is; {sentence}'
        for kind in ("join", "heartbeat")
    ]


def test_no_event_type_is_both_a_join_and_a_leave(tmp_path: Path) -> None:
    config = written(tmp_path, '[input.events]\njoin = ["Started", "Seen"]\nleave = "Seen"\nbitrate = "Seen"\n')
    assert errors_of(config) == [
        f'{config}: input.events.leave: is "Seen", as input.events.join is; no event is both a join and a leave'
    ]


def test_an_event_type_may_say_several_things(tmp_path: Path) -> None:
    lists = 'leave = "Ended"\nbitrate = ["Beat", "Ended"]\nbuffer = ["Beat", "Ended"]\nheartbeat = "Beat"\n'
    events = load_settings(written(tmp_path, f"[input.events]\n{lists}")).input.events
    assert (events.bitrate, events.buffer, events.heartbeat) == (("Beat", "Ended"), ("Beat", "Ended"), ("Beat",))


@pytest.mark.parametrize("literal", ["true", '"x"', "[]", "1.5"])
def test_the_file_gives_whole_numbers_where_whole_numbers_are_wanted(tmp_path: Path, literal: str) -> None:
    config = written(tmp_path, f"[windows]\nbucket_ms = {literal}\n")
    (line,) = errors_of(config)
    assert line.startswith(f"{config}: windows.bucket_ms: must be a whole number")


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("windows.bucket_mss=1", "did you mean windows.bucket_ms?"),
        ("window.bucket_ms=1", "did you mean windows?"),
        ("kafka.bucket_ms=1", "did you mean windows.bucket_ms?"),
        ("input.fields.streamid=x", "did you mean input.fields.stream_id?"),
        ("bucket_ms=1", "did you mean windows.bucket_ms?"),
        ("http.zzz=1", "there are host, port, max_stream_series"),
        ("input.fields.type.zzz.y=1", "unknown key"),
    ],
)
def test_an_unknown_key_is_an_error_with_a_suggestion(override: str, meant: str) -> None:
    lines = errors_of(overrides=[override])
    assert any(meant in line for line in lines)
    assert all(line.startswith("--set: ") for line in lines)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("VIEWER_CONSUMER_WINDOWS_BUCKET_MS", "VIEWER_CONSUMER_WINDOWS__BUCKET_MS"),
        ("VIEWER_CONSUMER_WINDOWS__BUKET_MS", "VIEWER_CONSUMER_WINDOWS__BUCKET_MS"),
        ("VIEWER_CONSUMER_KAFKA__BOOTSTRAP_SERVER", "VIEWER_CONSUMER_KAFKA__BOOTSTRAP_SERVERS"),
        ("VIEWER_CONSUMER_KAFKA_GROUP_ID", "VIEWER_CONSUMER_KAFKA__GROUP_ID"),
        ("VIEWER_CONSUMER_HTTP_PORT", "VIEWER_CONSUMER_HTTP__PORT"),
        ("VIEWER_CONSUMER_PORT", "VIEWER_CONSUMER_HTTP__PORT"),
        ("VIEWER_CONSUMER_KAFKA_CLIENT_SASL_PASSWORD", "VIEWER_CONSUMER_KAFKA__CLIENT__SASL_PASSWORD"),
        ("VIEWER_CONSUMER_INPUT_EVENTS_JOIN", "VIEWER_CONSUMER_INPUT__EVENTS__JOIN"),
        ("VIEWER_CONSUMER_INPUT__FIELDS_STREAM_ID", "VIEWER_CONSUMER_INPUT__FIELDS__STREAM_ID"),
    ],
)
def test_an_unknown_variable_is_an_error_that_names_the_right_one(name: str, meant: str) -> None:
    (line,) = errors_of(environ={name: "1"})
    assert line.startswith(f"{name}: ")
    assert line.endswith(f"unknown key; did you mean {meant}?")


@pytest.mark.parametrize(
    "service", ["", "METRICS_", "HTTP_", "KAFKA_", "KAFKA_CLIENT_", "WINDOWS_2_", "A__B_", "_METRICS_"]
)
def test_variables_of_services_are_left_alone(service: str) -> None:
    """Kubernetes sets these beside services that are named viewer-consumer, viewer-consumer-metrics and so on."""
    environ = {
        f"VIEWER_CONSUMER_{service}SERVICE_HOST": "10.0.0.1",
        f"VIEWER_CONSUMER_{service}SERVICE_PORT": "9464",
        f"VIEWER_CONSUMER_{service}SERVICE_PORT_METRICS_2": "9464",
        f"VIEWER_CONSUMER_{service}PORT": "tcp://10.0.0.1:9464",
        f"VIEWER_CONSUMER_{service}PORT_9464_TCP": "tcp://10.0.0.1:9464",
        f"VIEWER_CONSUMER_{service}PORT_9464_TCP_PROTO": "tcp",
        f"VIEWER_CONSUMER_{service}PORT_9464_TCP_PORT": "9464",
        f"VIEWER_CONSUMER_{service}PORT_9464_TCP_ADDR": "10.0.0.1",
        f"VIEWER_CONSUMER_{service}PORT_53_UDP": "udp://[fd00::1]:53",
        "PATH": "/bin",
    }
    assert load_settings(None, [], environ) == Settings()


def test_an_address_of_a_service_is_no_value_of_our_port() -> None:
    (line,) = errors_of(environ={"VIEWER_CONSUMER_HTTP__PORT": "tcp://10.0.0.1:9464"})
    assert "http.port: must be a whole number" in line


def test_all_errors_come_at_once_each_with_its_place(tmp_path: Path) -> None:
    config = written(tmp_path, '[windows]\nbucket_ms = 70000\ngrace_ms = -1\n[kafka]\ngroup = "a"\n')
    lines = errors_of(
        config,
        ["http.port=x", "nonsense", "kafka.state_topic=viewer-events"],
        {"VIEWER_CONSUMER_COMMIT__INTERVAL_MS": "1"},
    )
    assert lines == [
        "--set nonsense: must be section.key=value",
        f"{config}: kafka.group: unknown key; did you mean kafka.group_id?",
        f"{config}: windows.grace_ms: must be at least 0, not -1",
        'VIEWER_CONSUMER_COMMIT__INTERVAL_MS: commit.interval_ms: must be at least 10, not "1"',
        '--set: http.port: must be a whole number, not "x"',
        f"{config}: windows.window_duration_ms: must be at least windows.bucket_ms (70000), not 60000",
        '--set: kafka.state_topic: is "viewer-events", as kafka.input_topic is; each topic is a topic of its own',
    ]


def test_a_conflict_names_the_place_that_set_it_and_not_the_default() -> None:
    (line,) = errors_of(environ={"VIEWER_CONSUMER_WINDOWS__BUCKET_MS": "60001"})
    assert line == (
        "VIEWER_CONSUMER_WINDOWS__BUCKET_MS: windows.window_duration_ms: "
        "must be at least windows.bucket_ms (60001), not 60000"
    )


def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    assert errors_of(missing) == [f"{missing}: cannot be read: No such file or directory"]
    assert errors_of(tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]


def test_a_file_that_is_no_toml_is_one_line_and_hides_no_other_error(tmp_path: Path) -> None:
    config = written(tmp_path, "[windows\nbucket_ms = 1\n")
    lines = errors_of(config, ["http.port=x"])
    assert len(lines) == 2
    assert lines[0].startswith(f"{config}: is not valid TOML: ")
    assert "line 1" in lines[0]
    config.write_bytes(b"\xff\xfe")
    assert errors_of(config) == [f"{config}: is not UTF-8 text"]


@pytest.mark.parametrize(
    "override",
    [
        'kafka.client.sasl.password=["hunter2"]',
        "kafka.client=hunter2",
        "kafka=hunter2",
        "input.schema_registry_url=ftp://user:hunter2@host",
        'input.schema_registry_url=["hunter2"]',
        'input.schema_registry_password=["hunter2"]',
        "input.schema_registry_password=hunter2",
        'input.schema_registry_token={"a": "hunter2"}',
        "input.schema_registry_token=hunter2 with blanks",
        "input.schema_registry_user=me:hunter2",
    ],
)
def test_no_error_shows_what_may_be_secret(override: str) -> None:
    assert "hunter2" not in "\n".join(errors_of(overrides=[override]))


def test_settings_that_do_not_fit_cannot_be_made_in_code_either() -> None:
    with pytest.raises(ValidationError, match=r"windows\.window_duration_ms: must be at least windows\.bucket_ms"):
        Settings(windows=WindowSettings(window_duration_ms=1, bucket_ms=2))
    with pytest.raises(ValidationError, match=r"each topic is a topic of its own"):
        Settings(kafka=KafkaSettings(input_topic="a", output_topic="a"))


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().windows.bucket_ms = 1


def test_a_variable_may_name_a_file_that_holds_the_setting(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("[1, 2]\r\n")
    environ = {"VIEWER_CONSUMER_KAFKA__CLIENT__SASL_PASSWORD__FILE": str(secret)}
    assert load_settings(None, [], environ).kafka.client == {"sasl.password": "[1, 2]"}, "text, whatever it looks like"
    assert load_settings(None, ["kafka.client.sasl.password=flag"], environ).kafka.client == {"sasl.password": "flag"}


def test_a_file_that_cannot_be_read_is_told_by_the_variable(tmp_path: Path) -> None:
    name = "VIEWER_CONSUMER_INPUT__SCHEMA_REGISTRY_TOKEN__FILE"
    gone = tmp_path / "gone"
    assert errors_of(environ={name: str(gone)}) == [f"{name}: {gone}: cannot be read: No such file or directory"]
    gone.write_bytes(b"\xff")
    assert errors_of(environ={name: str(gone)}) == [f"{name}: {gone}: is not UTF-8 text"]
    both = {name: str(gone), "VIEWER_CONSUMER_INPUT__SCHEMA_REGISTRY_TOKEN": "x"}
    both["VIEWER_CONSUMER_INPUT__SCHEMA_REGISTRY_URL"] = "http://registry"
    assert errors_of(environ=both) == [
        f"{name}: VIEWER_CONSUMER_INPUT__SCHEMA_REGISTRY_TOKEN is set too; set only one of them"
    ]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["schema_registry_token=x"], "input.schema_registry_token: has no effect without input.schema_registry_url"),
        (
            ["schema_registry_ca_file=x"],
            "input.schema_registry_ca_file: has no effect without input.schema_registry_url",
        ),
        (
            ["schema_registry_certificate_file=x"],
            "input.schema_registry_certificate_file: has no effect without input.schema_registry_url",
        ),
        *(
            (
                ["schema_registry_url=https://r", f"schema_registry_{key}=x"],
                f"input.schema_registry_{key}: has no effect without input.schema_registry_certificate_file",
            )
            for key in ("key_file", "key_password")
        ),
        (
            ["schema_registry_url=http://a:b@r", "schema_registry_token=x"],
            "input.schema_registry_token: input.schema_registry_url is set too; set only one of them",
        ),
        (
            ["schema_registry_url=http://r", "schema_registry_user=x", "schema_registry_token=x"],
            "input.schema_registry_token: input.schema_registry_user is set too; set only one of them",
        ),
        (
            ["schema_registry_url=http://r", "schema_registry_password=x"],
            "input.schema_registry_password: needs a user",
        ),
    ],
)
def test_who_we_are_at_the_registry_is_said_once(overrides: list[str], line: str) -> None:
    (only,) = errors_of(overrides=[f"input.{override}" for override in overrides])
    assert only == f"--set: {line}"
