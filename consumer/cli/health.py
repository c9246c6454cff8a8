"""`viewer-consumer health`: ask the worker that runs here whether it is alive, as an image's health check does."""

import http.client
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer

from consumer.cli.options import Config, Overrides
from consumer.errors import UsageError, ViewerConsumerError
from consumer.settings.model import HttpSettings, load_settings

ANSWERS_WITHIN_S = 4.0
"""Less than the time-out of the image's health check, so that the reason is shown."""

_PROCESSES = Path("/proc")
_LOOPBACK = {"": "localhost", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared, not bound


class RunningWorker(NamedTuple):
    """What a process `viewer-consumer run` was started with."""

    arguments: tuple[str, ...]
    """Behind `run`."""
    environ: Mapping[str, str]
    directory: Path


def health(context: typer.Context, config: Config = None, overrides: Overrides = None) -> None:
    """Ask the worker on this machine whether it is alive.

    Without options its address is read from the command line and the environment of the running worker.
    """
    address = _address_of(_http_settings(context, config, overrides or ()))
    typer.echo(_ask(*address))


def running_workers(processes: Path = _PROCESSES) -> Iterator[RunningWorker]:
    """Find the workers on this machine whose command line and environment this user may read; none without /proc."""
    for process in sorted(processes.glob("[0-9]*")):
        try:
            words = _texts(process / "cmdline")
            arguments = _arguments_of_run(words)
            if arguments is not None:
                environ = dict(entry.split("=", 1) for entry in _texts(process / "environ") if "=" in entry)
                yield RunningWorker(arguments, environ, (process / "cwd").readlink())
        except OSError:
            continue  # it has ended, or belongs to another user


def _texts(file: Path) -> list[str]:
    return [os.fsdecode(text) for text in file.read_bytes().split(b"\0")][:-1]


def _arguments_of_run(words: Sequence[str]) -> tuple[str, ...] | None:
    """What follows `viewer-consumer run`, or `python -m consumer run`."""
    for number, word in enumerate(words[:3]):
        ours = Path(word).name == "viewer-consumer" or (word == "consumer" and words[number - 1] == "-m")
        if ours and words[number + 1 : number + 2] == ["run"]:
            return tuple(words[number + 2 :])
    return None


def _http_settings(context: typer.Context, config: Path | None, overrides: Sequence[str]) -> HttpSettings:
    workers = [] if config or overrides else list(running_workers(_PROCESSES))
    if not workers:
        return load_settings(config, overrides, os.environ).http
    if len(workers) > 1:
        raise UsageError(f"{len(workers)} workers run here; name the settings of one with --config or --set")
    (worker,) = workers
    given = _options_of_run(context, worker.arguments)
    path = None if given["config"] is None else worker.directory / given["config"]
    return load_settings(path, given["overrides"] or (), worker.environ).http


def _options_of_run(context: typer.Context, arguments: Sequence[str]) -> dict[str, Any]:
    root: Any = context.find_root().command
    parsed: dict[str, Any] = root.commands["run"].make_context("run", list(arguments), resilient_parsing=True).params
    return parsed


def _address_of(settings: HttpSettings) -> tuple[str, int]:
    if settings.port == 0:
        raise UsageError("http.port = 0: the worker's port is not known; set one, and its health can be asked for")
    return _LOOPBACK.get(settings.host, settings.host), settings.port


def _ask(host: str, port: int) -> str:
    """Return the answer of a worker that is alive."""
    connection = http.client.HTTPConnection(host, port, timeout=ANSWERS_WITHIN_S)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        text = answer.read().decode().strip()
    except (OSError, http.client.HTTPException) as error:
        raise ViewerConsumerError(f"no worker answers on {host} port {port}: {error or type(error).__name__}") from None
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise ViewerConsumerError(f"the worker on {host} port {port} is not alive: {text}")
    return text
