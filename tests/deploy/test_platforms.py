"""The compose file matches the image, the settings and the command line, and Compose accepts it."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from consumer.settings.model import Settings, load_settings
from tests.deploy.command_lines import check_command_line
from tests.deploy.files import DEPLOY, ROOT, compose, load_yaml
from tests.image.images import KAFKA_IMAGE, PROMETHEUS_IMAGE

SETTINGS_FILE = "/etc/viewer-consumer/viewer-consumer.toml"


def image(service: dict[str, Any]) -> str:
    """The image, unless a variable names another."""
    default = re.fullmatch(r"\$\{\w+:-(.*)\}", service["image"])
    return default[1] if default else str(service["image"])


def ours() -> dict[str, Any]:
    return {name: one for name, one in compose()["services"].items() if image(one) == "viewer-consumer"}


def test_the_program_accepts_every_command_line() -> None:
    for service in ours().values():
        check_command_line(service["command"])
    check_command_line(["run"])


def test_an_invalid_command_line_is_detected() -> None:
    with pytest.raises(Exception, match=r"(?i)no such option"):
        check_command_line(["config", "--no-such-flag"])


def test_the_settings_in_the_compose_file_are_valid() -> None:
    settings = load_settings(DEPLOY / "viewer-consumer.toml", (), {})
    servers = compose()["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"INTERNAL://{settings.kafka.bootstrap_servers}" in servers.split(",")
    assert settings.kafka.input_topic in compose()["services"]["input-topic"]["command"]
    (schema,) = settings.input.ids.values()
    shipped = ROOT / Path(schema).relative_to("/usr/share/viewer-consumer")
    assert shipped.exists()


def test_services_get_the_configs_that_their_commands_name() -> None:
    for service in ours().values():
        assert service["volumes"] == [f"./viewer-consumer.toml:{SETTINGS_FILE}:ro"]
        assert SETTINGS_FILE in service["command"]
    assert tomllib.loads((DEPLOY / "viewer-consumer.toml").read_text())


def test_files_that_compose_mounts_and_builds_exist() -> None:
    for service in compose()["services"].values():
        for mount in service.get("volumes", []):
            assert (DEPLOY / mount.split(":")[0]).exists(), mount
    build = compose()["services"]["worker"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).exists()


def test_compose_accepts_the_file() -> None:
    """Both generations: the plugin, and the older program, which refuses keys that are new to it."""
    asked = [
        subprocess.run(
            [*tool, "--file", str(DEPLOY / "compose.yaml"), "config", "--quiet"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for tool in compose_tools()
    ]
    for done in asked:
        assert done.returncode == 0, done.stderr
    if not asked:
        pytest.skip("neither `docker compose` nor docker-compose is installed (Debian package: docker-compose)")


def compose_tools() -> list[list[str]]:
    tools = [["docker", "compose"], ["docker-compose"]]
    return [
        tool
        for tool in tools
        if shutil.which(tool[0])
        and subprocess.run([*tool, "version"], capture_output=True, timeout=60, check=False).returncode == 0
    ]


def test_all_that_talk_to_kafka_stop_before_it() -> None:
    for name in ("input-topic", *ours()):
        assert compose()["services"][name]["depends_on"]["kafka"] == {"condition": "service_healthy"}


def test_kafka_is_of_the_version_that_the_tests_use() -> None:
    for name in ("kafka", "input-topic"):
        assert image(compose()["services"][name]) == KAFKA_IMAGE
    assert image(compose()["services"]["prometheus"]) == PROMETHEUS_IMAGE


def test_services_depend_on_services_that_exist() -> None:
    services = compose()["services"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy" and image(services[needed]) != "viewer-consumer":
                assert "healthcheck" in services[needed], f"{name} waits for the health of {needed}"


def test_compose_publishes_ports_on_the_local_host_only() -> None:
    for service in compose()["services"].values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_prometheus_scrapes_the_workers() -> None:
    (config,) = load_yaml(DEPLOY / "prometheus" / "prometheus.yml")
    (job,) = config["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert job["job_name"] == "viewer-consumer"
    assert found["names"] == ["worker"]
    assert "worker" in compose()["services"]
    assert found["port"] == Settings().http.port
