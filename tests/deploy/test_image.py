"""What can be checked of the image without a build: its sources, its user, its commands."""

import importlib.util
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from consumer.intake.schemas.builtin import load_builtin_schema
from consumer.observe.routes import Routes
from consumer.observe.server import StatusServer
from consumer.observe.site import FILES
from consumer.observe.snapshot import SnapshotBoard
from tests.deploy.files import DEPLOY, ROOT, dockerfile
from tests.observe.samples import Clock, worker_metrics


def final_stage() -> list[tuple[str, str]]:
    instructions = dockerfile()
    last = max(number for number, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[last:]


def values(instructions: list[tuple[str, str]], name: str) -> list[str]:
    return [value for instruction, value in instructions if instruction == name]


def environment(instructions: list[tuple[str, str]]) -> dict[str, str]:
    return dict(pair.split("=", 1) for value in values(instructions, "ENV") for pair in value.split())


def test_both_stages_use_the_same_base_image() -> None:
    assert [value.split()[0] for value in values(dockerfile(), "FROM")] == ["${BASE}", "${BASE}"]
    assert values(dockerfile(), "ARG") == ["BASE=python:3.11-slim-bookworm"]


def test_copied_files_exist_and_are_not_ignored() -> None:
    kept = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [value.split()[:-1] for value in values(dockerfile(), "COPY") if not value.startswith("--from")]
    assert sources
    for source in (one for group in sources for one in group):
        assert (ROOT / source).exists(), source
        assert source in kept


def test_dependencies_are_locked_with_hashes() -> None:
    assert any(
        '"--require-hashes"' in value and '"requirements.lock"' in value for value in values(dockerfile(), "RUN")
    )


def test_the_package_installs_as_in_the_image_and_contains_its_schemas_and_its_page(tmp_path: Path) -> None:
    command = next(json.loads(value) for value in values(dockerfile(), "RUN") if '"--no-deps"' in value)
    program, *arguments = command
    assert program == "pip"
    assert arguments.pop() == "."
    target = tmp_path / "installed"
    subprocess.run(
        [sys.executable, "-m", "pip", *arguments, "--quiet", "--no-index", "--target", str(target), str(ROOT)],
        check=True,
        timeout=120,
    )
    assert all((target / "consumer/observe/page" / name).is_file() for name, _ in FILES.values())
    look = (
        "import consumer.intake.schemas.builtin as b; print(b.__file__); print(b.builtin_schema_text('bucket_summary'))"
    )
    found = subprocess.run(
        [sys.executable, "-c", look], env={"PYTHONPATH": str(target)}, cwd=tmp_path, capture_output=True, check=True
    )
    place, schema = found.stdout.decode().split("\n", 1)
    assert place.startswith(str(target))
    assert json.loads(schema) == load_builtin_schema("bucket_summary")


def test_it_runs_as_an_unprivileged_user_and_receives_signals_directly() -> None:
    stage = final_stage()
    assert values(stage, "USER") == ["10001:10001"]
    assert values(stage, "STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(values(stage, "ENTRYPOINT")[0]) == ["viewer-consumer"]
    assert json.loads(values(stage, "CMD")[0]) == ["run"]
    for command in values(dockerfile(), "RUN"):
        assert json.loads(command), "exec form: no shell in between"


def test_kernels_compiled_at_build_time_are_found_at_run_time() -> None:
    build, run = environment(dockerfile()[: -len(final_stage())]), environment(final_stage())
    for name in ("NUMBA_CPU_NAME", "NUMBA_CACHE_DIR"):
        assert build[name] == run[name]
    cache = run["NUMBA_CACHE_DIR"]
    assert f"--from=build {cache} {cache}" in values(final_stage(), "COPY")
    warm_up = next(json.loads(value) for value in values(dockerfile(), "RUN") if "warm_up" in value)
    assert warm_up[:2] == ["python", "-m"]
    assert importlib.util.find_spec(warm_up[2]) is not None


def health_check() -> list[str]:
    (value,) = values(final_stage(), "HEALTHCHECK")
    command = re.search(r"CMD (\[.*\])$", value)
    assert command is not None
    words: list[str] = json.loads(command[1])
    return words


@pytest.mark.parametrize(("silent_s", "healthy"), [(0.0, True), (1000.0, False)])
def test_the_health_check_distinguishes_a_running_loop_from_a_stuck_one(silent_s: float, *, healthy: bool) -> None:
    board, clock = SnapshotBoard(0.0), Clock(silent_s)
    server = StatusServer("127.0.0.1", 0, Routes(worker_metrics(board).registry, board, clock), time.monotonic)
    server.start()
    try:
        program, *arguments = health_check()
        assert program == "python"
        done = subprocess.run(
            [sys.executable, *arguments],
            env={"VIEWER_CONSUMER_HTTP__PORT": str(server.port)},
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode == 0) == healthy, done.stderr
    finally:
        server.close()


def test_the_health_check_uses_the_default_port_if_none_is_set() -> None:
    assert "'9464'" in health_check()[-1]
    assert values(final_stage(), "EXPOSE") == ["9464"]


def test_every_file_of_the_deploy_folder_is_tested() -> None:
    tried = {"Dockerfile", "Dockerfile.dockerignore", "compose.yaml", "viewer-consumer.toml", "README.md"}
    assert {path.name for path in Path(DEPLOY).iterdir() if path.is_file()} == tried
