"""The Kubernetes objects: rendered by kustomize, held against the API's schemas, the image and the settings."""

import base64
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from consumer.kafka.config import check_client
from consumer.settings.model import Settings, load_settings
from tests.deploy.command_lines import check_command_line
from tests.deploy.files import DEPLOY, RULES, load_yaml
from tests.deploy.prometheus_rule import OBJECT, prometheus_rule

OVERLAYS = DEPLOY / "kubernetes" / "overlays"
NAMES = sorted(path.name for path in OVERLAYS.iterdir())
VERSIONS = ("1.31", "1.37")
"""The oldest whose API has every field, and the newest."""
OF_OPERATORS = {"PodMonitor", "PrometheusRule", "ScaledObject"}
"""Kinds that the API does not have itself."""
LABELS = {"app.kubernetes.io/name": "viewer-consumer"}


def kustomize() -> list[str]:
    """The command that renders a folder; without one the tests are skipped, but fail where CI=true."""
    for program, command in (("kustomize", "build"), ("kubectl", "kustomize")):
        if path := shutil.which(program):
            return [path, command]
    reason = "neither kustomize nor kubectl, version 1.27 or newer, is installed"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def rendered(overlay: str) -> tuple[dict[str, Any], ...]:
    done = subprocess.run(
        [*kustomize(), str(OVERLAYS / overlay)], capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def find(kind: str, overlay: str = "plain") -> Any:
    (found,) = [one for one in rendered(overlay) if one["kind"] == kind]
    return found


def pod(overlay: str = "plain") -> Any:
    return find("StatefulSet", overlay)["spec"]["template"]


def worker(overlay: str = "plain") -> Any:
    (container,) = pod(overlay)["spec"]["containers"]
    return container


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", NAMES)
def test_the_api_knows_every_object_and_every_field(overlay: str, version: str) -> None:
    objects = rendered(overlay)
    for one in objects:
        assert one["metadata"]["labels"].items() >= LABELS.items()
        if one["kind"] not in OF_OPERATORS:
            kubernetes_validate.validate(one, version, strict=True)
    assert {"ConfigMap", "StatefulSet", "Service", "PodDisruptionBudget", "NetworkPolicy"} <= {
        one["kind"] for one in objects
    }


def test_a_field_that_the_api_does_not_know_is_found() -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**find("Service"), "spec": {"clusterIPs": 1, "no": 2}}, VERSIONS[0], strict=True)


@pytest.mark.parametrize("overlay", NAMES)
def test_selectors_match_the_pods(overlay: str) -> None:
    labels = pod(overlay)["metadata"]["labels"]
    assert labels == LABELS
    assert find("StatefulSet", overlay)["spec"]["selector"]["matchLabels"] == labels
    assert find("Service", overlay)["spec"]["selector"] == labels
    assert find("PodDisruptionBudget", overlay)["spec"]["selector"]["matchLabels"] == labels
    assert find("NetworkPolicy", overlay)["spec"]["podSelector"]["matchLabels"] == labels
    for spread in pod(overlay)["spec"]["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"] == labels
    assert find("StatefulSet", overlay)["spec"]["serviceName"] == find("Service", overlay)["metadata"]["name"]


def environment(overlay: str, secrets: Path) -> dict[str, str]:
    """The variables of the container of the first pod, with its Secrets in a folder here."""
    first = {"metadata.name": f"{find('StatefulSet', overlay)['metadata']['name']}-0"}
    found = {}
    for variable in worker(overlay)["env"]:
        value = variable.get("value") or first[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        for mount in worker(overlay)["volumeMounts"]:
            value = value.replace(f"{mount['mountPath']}/", f"{secrets}/{mount['name']}/")
        found[variable["name"]] = value
    return found


def write_volumes(overlay: str, directory: Path) -> None:
    """Write the files that the pod's volumes have."""
    for volume in pod(overlay)["spec"]["volumes"]:
        kind, name = ("ConfigMap", volume["configMap"]["name"]) if "configMap" in volume else ("Secret", "")
        source = find(kind, overlay)
        assert source["metadata"]["name"] == (name or volume["secret"]["secretName"])
        (directory / volume["name"]).mkdir()
        for key, value in source["data"].items():
            content = value.encode() if kind == "ConfigMap" else base64.b64decode(value)
            (directory / volume["name"] / key).write_bytes(content)


@pytest.mark.parametrize("overlay", NAMES)
def test_the_settings_are_valid_and_the_command_line_names_their_file(overlay: str, tmp_path: Path) -> None:
    write_volumes(overlay, tmp_path)
    check_command_line(worker(overlay)["args"])
    run, option, file = worker(overlay)["args"]
    assert (run, option) == ("run", "--config")
    (mount,) = [one["mountPath"] for one in worker(overlay)["volumeMounts"] if one["name"] == "settings"]
    settings = load_settings(tmp_path / "settings" / Path(file).relative_to(mount), (), environment(overlay, tmp_path))
    check_client(settings)
    assert settings.kafka.client["group.instance.id"] == "viewer-consumer-0"
    assert ("sasl.password" in settings.kafka.client) == (overlay == "credentials")


def test_a_change_of_settings_restarts_the_workers() -> None:
    """The name of their object has a hash of the contents."""
    assert re.fullmatch(r"viewer-consumer-\w{10}", find("ConfigMap")["metadata"]["name"])


def test_probes_use_paths_that_are_served() -> None:
    container = worker()
    paths = {"livenessProbe": "/healthz", "startupProbe": "/startupz", "readinessProbe": "/readyz"}
    for probe, path in paths.items():
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}
        assert container[probe]["timeoutSeconds"] >= 5, "a worker that is throttled may take longer than the default"
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] >= 600
    assert container["ports"] == [{"name": "http", "containerPort": Settings().http.port}]


@pytest.mark.parametrize("overlay", NAMES)
def test_the_pods_meet_the_restricted_profile_with_a_read_only_root(overlay: str) -> None:
    spec, container = pod(overlay)["spec"], worker(overlay)
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False


def test_the_network_policy_lets_through_what_the_settings_name(tmp_path: Path) -> None:
    write_volumes("plain", tmp_path)
    settings = load_settings(tmp_path / "settings" / "viewer-consumer.toml")
    policy = find("NetworkPolicy")["spec"]
    allowed = [port for rule in policy["egress"] for port in rule["ports"] if port["protocol"] == "TCP"]
    addresses = (settings.kafka.bootstrap_servers, settings.input.schema_registry_url)
    for number in (int(address.rpartition(":")[2]) for address in addresses):
        assert any(one["port"] <= number <= one.get("endPort", one["port"]) for one in allowed), number
    assert [port["port"] for rule in policy["ingress"] for port in rule["ports"]] == ["http"]


def mebibytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()  # type: ignore[union-attr]  # no match fails the test
    return int(number) * (1024 if unit == "Gi" else 1)


def test_the_memory_follows_from_the_table_of_sizes() -> None:
    rows = re.findall(
        r"^\| .+ \| (\d+) MiB \| (\d+[MG]i) \|$", (DEPLOY / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(rows) >= 5
    for measured, limit in rows:
        assert 1.15 * int(measured) <= mebibytes(limit), f"{measured} MiB in {limit}"
    resources = worker()["resources"]
    assert resources["limits"] == {"memory": resources["requests"]["memory"]}
    assert resources["limits"]["memory"] in {limit for _, limit in rows}
    assert resources["requests"]["cpu"] == "1"


def test_the_operators_rules_are_those_of_prometheus() -> None:
    assert OBJECT.read_text(encoding="utf-8") == prometheus_rule(), "run `make rules`"
    assert find("PrometheusRule", "prometheus-operator")["spec"] == load_yaml(RULES)[0]


def test_the_pod_monitor_scrapes_the_port_and_names_the_job() -> None:
    monitor = find("PodMonitor", "prometheus-operator")["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in worker("prometheus-operator")["ports"]}
    assert endpoint["path"] == "/metrics"
    labels = pod("prometheus-operator")["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"] == labels
    assert monitor["jobLabel"] in labels


def test_keda_scales_the_workers_by_the_lag_of_their_group(tmp_path: Path) -> None:
    scaled = find("ScaledObject", "keda")["spec"]
    target = find("StatefulSet", "keda")
    assert scaled["scaleTargetRef"] == {
        "apiVersion": target["apiVersion"],
        "kind": target["kind"],
        "name": target["metadata"]["name"],
    }
    assert "replicas" not in target["spec"], "KEDA's number would be overwritten"
    write_volumes("keda", tmp_path)
    kafka = load_settings(tmp_path / "settings" / "viewer-consumer.toml").kafka
    (trigger,) = scaled["triggers"]
    assert trigger["type"] == "kafka"
    assert trigger["metadata"]["bootstrapServers"] == kafka.bootstrap_servers
    assert trigger["metadata"]["consumerGroup"] == kafka.group_id
    assert trigger["metadata"]["topic"] == kafka.input_topic
