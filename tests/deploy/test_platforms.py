"""The compose file and the Kubernetes example match the image, the settings and the command line."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from consumer.cli.main import app
from consumer.settings.model import Settings, load_settings
from tests.deploy.files import DEPLOY, ROOT, compose, load_yaml

SETTINGS_FILE = "/etc/viewer-consumer/viewer-consumer.toml"


def kubernetes(kind: str) -> Any:
    return next(one for one in load_yaml(DEPLOY / "kubernetes" / "viewer-consumer.yaml") if one["kind"] == kind)


def check_command_line(arguments: list[str]) -> None:
    """Parse as the real command does, without running it."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("viewer-consumer", list(arguments))
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, rest, parent=context)


def ours() -> dict[str, Any]:
    return {name: one for name, one in compose()["services"].items() if one["image"] == "viewer-consumer"}


def test_the_program_accepts_every_command_line() -> None:
    for service in ours().values():
        check_command_line(service["command"])
    check_command_line(kubernetes("StatefulSet")["spec"]["template"]["spec"]["containers"][0]["args"])
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


def test_the_settings_in_the_kubernetes_example_are_valid(tmp_path: Path) -> None:
    (name, text), *others = kubernetes("ConfigMap")["data"].items()
    assert not others
    config = tmp_path / name
    config.write_text(text)
    load_settings(config, (), {})
    container = kubernetes("StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    mount = container["volumeMounts"][0]["mountPath"]
    assert f"{mount}/{name}" in container["args"]


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


def test_services_depend_on_services_that_exist() -> None:
    services = compose()["services"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy" and services[needed]["image"] != "viewer-consumer":
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


def test_grafana_has_prometheus_and_the_dashboard() -> None:
    (provisioned,) = load_yaml(DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml")
    (source,) = provisioned["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert source["uid"] == "prometheus"
    (providers,) = load_yaml(DEPLOY / "grafana" / "provisioning" / "dashboards" / "dashboards.yml")
    directory = providers["providers"][0]["options"]["path"]
    mounts = dict(reversed(mount.split(":")[:2]) for mount in compose()["services"]["grafana"]["volumes"])
    dashboards = DEPLOY / mounts[directory]
    home = compose()["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (dashboards / Path(home).name).exists()


def test_kubernetes_selectors_match_the_pods() -> None:
    stateful_set = kubernetes("StatefulSet")
    labels = stateful_set["spec"]["template"]["metadata"]["labels"]
    assert stateful_set["spec"]["selector"]["matchLabels"] == labels
    assert kubernetes("Service")["spec"]["selector"] == labels
    assert kubernetes("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert kubernetes("PodMonitor")["spec"]["selector"]["matchLabels"] == labels
    assert stateful_set["spec"]["serviceName"] == kubernetes("Service")["metadata"]["name"]


def test_kubernetes_probes_use_paths_that_are_served() -> None:
    pod = kubernetes("StatefulSet")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["startupProbe"]["httpGet"]["path"] == "/startupz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        assert container[probe]["timeoutSeconds"] >= 5, "a worker that is throttled may take longer than the default"
    assert container["ports"] == [{"name": "http", "containerPort": Settings().http.port}]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["enableServiceLinks"] is False
