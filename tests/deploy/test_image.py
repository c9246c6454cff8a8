"""What can be checked of the image without a build: its sources, its user, its commands."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.cli.health import ANSWERS_WITHIN_S
from consumer.intake.schemas.builtin import load_builtin_schema
from consumer.observe.site import FILES
from consumer.settings.model import Settings
from tests.deploy.command_lines import check_command_line
from tests.deploy.files import DEPLOY, ROOT, dockerfile

LOCKS = ("requirements.lock", "requirements-msk-iam.lock")
"""What the image may be built with."""


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
    assert values(dockerfile(), "ARG") == ["BASE=python:3.11-slim-bookworm", "LOCK=requirements.lock"]


def test_the_lock_for_msk_has_all_of_the_other() -> None:
    usual, more = (set(re.findall(r"^\S+==\S+", (ROOT / lock).read_text(), re.MULTILINE)) for lock in LOCKS)
    assert usual < more
    assert any(pinned.startswith("aws-msk-iam-sasl-signer-python==") for pinned in more - usual)


def test_copied_files_exist_and_are_not_ignored() -> None:
    kept = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [value.split()[:-1] for value in values(dockerfile(), "COPY") if not value.startswith("--from")]
    assert sources
    for source in (one.replace("${LOCK}", lock) for lock in LOCKS for group in sources for one in group):
        assert (ROOT / source).exists(), source
        assert source in kept


def test_dependencies_are_locked_with_hashes() -> None:
    for lock in ("runtime.lock", "requirements-build.lock"):
        assert {"--require-hashes", "--only-binary=:all:"} <= set(command_with(lock))


def test_what_builds_is_not_in_the_image() -> None:
    """It has a virtual environment of its own; the one that runs has no pip."""
    runs = "/opt/viewer-consumer"
    assert command_with("venv", runs) == ["python", "-m", "venv", "--without-pip", runs]
    assert command_with("runtime.lock")[:3] == ["pip", "--python", f"{runs}/bin/python"]
    assert "--python" not in command_with("requirements-build.lock")
    assert f"--from=build {runs} {runs}" in values(final_stage(), "COPY")
    assert "hatchling" not in (ROOT / "requirements.lock").read_text()


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """An installation with what can go and what must stay."""
    packages = tmp_path / "lib/python3.11/site-packages"
    kept = ("numba/core/a.py", "numba/cudadrv.py", "testsuite/a.py", "waitress/b.so", "consumer/schemas/a.avsc")
    gone = ("numba/cuda/a.py", "numba/tests/x.py", "waitress/c.h", "waitress/tests/deep/tests/x.py", "a/b.pyi")
    for name in (*kept, *gone):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text("x")
    return tmp_path


def test_what_a_worker_never_imports_is_removed(installation: Path) -> None:
    subprocess.run([sys.executable, str(DEPLOY / "slim.py"), str(installation)], check=True, timeout=60)
    left = {path.name for path in installation.rglob("*") if path.is_file()}
    assert left == {"a.py", "cudadrv.py", "b.so", "a.avsc"}
    assert not [path for path in installation.rglob("*") if path.name in {"cuda", "tests"}]


def command_with(*words: str) -> list[str]:
    """The command of the build that has these words."""
    commands = [json.loads(value) for value in values(dockerfile(), "RUN")]
    (found,) = [command for command in commands if set(words) <= set(command)]
    assert isinstance(found, list)
    return found


def test_the_package_installs_as_in_the_image_and_contains_its_schemas_and_its_page(tmp_path: Path) -> None:
    build = command_with("wheel")
    assert (build[0], build[-1]) == ("pip", ".")
    wheels, target = tmp_path / "wheels", tmp_path / "installed"
    options = [str(wheels) if word == "/dist" else word for word in build[1:-1]]
    pip = (sys.executable, "-m", "pip", "--quiet")
    subprocess.run([*pip, *options, "--no-index", str(ROOT)], check=True, timeout=120)
    install = ("install", "--no-deps", "--no-index", "--find-links", str(wheels), "viewer-consumer")
    assert command_with("--no-index")[3:] == [*install[:4], "/dist", *install[5:]]
    subprocess.run([*pip, *install, "--target", str(target)], check=True, timeout=120)
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
    assert json.loads(values(stage, "ENTRYPOINT")[0]) == ["env", "--block-signal=TERM,INT", "viewer-consumer"]
    assert json.loads(values(stage, "CMD")[0]) == ["run"]
    for command in values(dockerfile(), "RUN"):
        assert json.loads(command), "exec form: no shell in between"


def test_kernels_compiled_at_build_time_are_found_at_run_time() -> None:
    build, run = environment(dockerfile()[: -len(final_stage())]), environment(final_stage())
    for name in ("NUMBA_CPU_NAME", "NUMBA_CACHE_DIR"):
        assert build[name] == run[name]
    cache = run["NUMBA_CACHE_DIR"]
    assert f"--from=build {cache} {cache}" in values(final_stage(), "COPY")
    compiling = next(json.loads(value) for value in values(dockerfile(), "RUN") if "compiling" in value)
    assert compiling[:2] == ["/opt/viewer-consumer/bin/python", "-m"]
    assert importlib.util.find_spec(compiling[2]) is not None


def health_check() -> list[str]:
    (value,) = values(final_stage(), "HEALTHCHECK")
    command = re.search(r"CMD (\[.*\])$", value)
    assert command is not None
    words: list[str] = json.loads(command[1])
    return words


def test_the_health_check_is_a_command_of_ours() -> None:
    program, *arguments = health_check()
    assert program == "viewer-consumer"
    check_command_line(arguments)
    assert values(final_stage(), "EXPOSE") == [str(Settings().http.port)]
    limit = re.search(r"--timeout=(\d+)s", values(final_stage(), "HEALTHCHECK")[0])
    assert limit is not None
    assert int(limit[1]) > ANSWERS_WITHIN_S


def test_every_file_of_the_deploy_folder_is_tested() -> None:
    tried = {"Dockerfile", "Dockerfile.dockerignore", "compose.yaml", "viewer-consumer.toml", "README.md", "slim.py"}
    assert {path.name for path in Path(DEPLOY).iterdir() if path.is_file()} == tried
