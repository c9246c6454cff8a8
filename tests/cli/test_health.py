"""`health` asks the worker that runs here, at the address of the worker's own settings."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consumer.cli import health
from consumer.cli.health import running_workers
from consumer.observe.routes import Routes
from consumer.observe.server import StatusServer
from consumer.observe.snapshot import SnapshotBoard
from tests.cli.command import Ran, run_here
from tests.observe.samples import Clock, worker_metrics
from tests.support.broker import free_ports

RUN = ["/opt/bin/python", "/opt/bin/viewer-consumer", "run"]


@contextlib.contextmanager
def serving(silent_s: float = 0.0) -> Iterator[int]:
    """Yield the port of a worker whose loop has been silent for so long."""
    board, clock = SnapshotBoard(0.0), Clock(silent_s)
    server = StatusServer("127.0.0.1", 0, Routes(worker_metrics(board).registry, board, clock), time.monotonic)
    server.start()
    try:
        with capture_logs():  # this process logs to stdout, too
            yield server.port
    finally:
        server.close()


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for /proc: other workers may run on this machine."""
    directory = tmp_path / "proc"
    directory.mkdir()
    monkeypatch.setattr(health, "_PROCESSES", directory)
    return directory


def add_process(processes: Path, words: list[str], environ: tuple[str, ...] = (), directory: Path = Path("/")) -> None:
    process = processes / str(100 + len(list(processes.iterdir())))
    process.mkdir()
    (process / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))
    (process / "environ").write_bytes(b"".join(entry.encode() + b"\0" for entry in environ))
    (process / "cwd").symlink_to(directory)


def test_the_port_is_that_of_a_flag(processes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as port:
        add_process(processes, [*RUN, "--log-level", "debug", "--set", f"http.port={port}"])
        assert run_here(capsys, "health") == Ran(0, "ok\n", "")


@pytest.mark.parametrize("shape", [["--config", "{}"], ["--config={}"], ["-c", "{}"]])
def test_the_port_is_that_of_a_file(
    processes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], shape: list[str]
) -> None:
    """Also if its path is relative to where the worker was started."""
    with serving() as port:
        (tmp_path / "settings.toml").write_text(f"[http]\nport = {port}\n")
        options = [word.format("settings.toml") for word in shape]
        add_process(processes, ["python", "-m", "consumer", "run", *options], directory=tmp_path)
        assert run_here(capsys, "health") == Ran(0, "ok\n", "")


def test_the_port_is_that_of_a_variable_of_the_worker(processes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as port:
        add_process(processes, RUN, (f"VIEWER_CONSUMER_HTTP__PORT={port}", "PATH=/bin"))
        assert run_here(capsys, "health") == Ran(0, "ok\n", "")


def test_options_name_another_worker(processes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as port:
        add_process(processes, [*RUN, "--set", "http.port=1"])
        add_process(processes, RUN)
        assert run_here(capsys, "health", "--set", f"http.port={port}") == Ran(0, "ok\n", "")
        ran = run_here(capsys, "health")
        assert ran.code == 2
        assert ran.error_lines == ["error: 2 workers run here; name the settings of one with --config or --set"]


def test_a_worker_that_hangs_is_not_healthy(processes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(silent_s=1000.0) as port:
        add_process(processes, [*RUN, "--set", f"http.port={port}"])
        ran = run_here(capsys, "health")
        assert (ran.code, ran.out) == (1, "")
        (line,) = ran.error_lines
        assert line.startswith(f"error: the worker on 127.0.0.1 port {port} is not alive: ")


def test_without_an_answer_the_error_names_the_address(processes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not list(processes.iterdir())
    (port,) = free_ports(1)
    ran = run_here(capsys, "health", "--set", f"http.port={port}")
    assert ran == Ran(1, "", f"error: no worker answers on 127.0.0.1 port {port}: [Errno 111] Connection refused\n")


def test_a_port_that_nobody_knows_is_an_error(processes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_process(processes, [*RUN, "--set", "http.port=0"])
    ran = run_here(capsys, "health")
    assert ran.code == 2
    assert ran.error_lines[0].startswith("error: http.port = 0: ")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["viewer-consumer", "state", "list"],
        ["vi", "viewer-consumer"],
        ["grep", "consumer", "run"],
        [*RUN[:2], "health"],
    ],
)
def test_other_processes_are_no_workers(processes: Path, words: list[str]) -> None:
    add_process(processes, words)
    assert list(running_workers(processes)) == []


def test_a_process_that_has_ended_is_skipped(processes: Path) -> None:
    add_process(processes, [*RUN, "--set", "http.port=1"])
    (processes / "1").mkdir()
    (processes / "self").mkdir()
    (worker,) = running_workers(processes)
    assert worker.arguments == ("--set", "http.port=1")
