"""What an image must do, each as findings with a limit."""

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.image.container import Container, Launcher, Stopped
from tests.support.waiting import until

READY_WITHIN_S = 15.0
STOPPED_WITHIN_S = 5.0
GIVE_UP_S = 120.0
"""A worker that is late is measured all the same."""
IMAGE_MB = 360
"""Limit of what the image adds to its base."""

HARDENED = ("--cap-drop=ALL", "--security-opt=no-new-privileges")
"""What Kubernetes' restricted profile asks for; an engine's own seccomp profile is RuntimeDefault there."""
READ_ONLY = (*HARDENED, "--read-only")
ANY_USER = (*READ_ONLY, "--user=47110:47110")
FLAVOURS = {
    "as it is": (),
    "with Kubernetes' security settings": HARDENED,
    "and a read-only root": READ_ONLY,
    "and as any user": ANY_USER,
}
EVENTS = 2_000

_CACHED = """
from consumer.runtime import jit
from consumer.worker.warm_up import warm_up
warm_up()
kernels = jit._KERNELS.dispatchers
print(len(kernels), sum(sum(one.stats.cache_misses.values()) for one in kernels))
"""
_BUILD_TOOLS = """
from importlib.util import find_spec
from pathlib import Path
import numba
unwanted = ("pip", "setuptools", "hatchling", "editables", "numba.cuda", "numpy.tests")
print(*[name for name in unwanted if find_spec(name)], *Path(numba.__file__).parents[1].rglob("*.h"))
"""


class Finding(NamedTuple):
    """One line of the result."""

    what: str
    measured: str
    met: bool = True


def check_contents(launcher: Launcher, base: str) -> Iterator[Finding]:
    """Size, user, and what must not be in it."""
    size, of_base = (launcher.engine.bytes_of(image) / 1e6 for image in (launcher.image, base))
    added = size - of_base
    yield Finding("size", f"{size:.0f} MB, {added:.0f} MB above its base (at most {IMAGE_MB})", added <= IMAGE_MB)
    user = launcher.engine.call("image", "inspect", "--format", "{{.Config.User}}", launcher.image)
    yield Finding("user", user, user.split(":")[0].isdigit() and int(user.split(":")[0]) > 0)
    # The base may have a pip of its own; what the worker's Python finds counts.
    found = launcher.output_of("-c", _BUILD_TOOLS, options=("--entrypoint=python",))
    yield Finding("build tools, headers, CUDA, tests of numpy", found or "none", not found)


def check_flavour(launcher: Launcher, name: str, options: tuple[str, ...]) -> Iterator[Finding]:
    """Start and stop with some options: ready in time with the image's kernels, events counted, a clean stop."""
    output = launcher.output_of("-c", _CACHED, options=(*options, "--entrypoint=python"))
    kernels, compiled = output.split()
    yield Finding(f"{name}: kernels compiled", f"{compiled} of {kernels}", compiled == "0" and kernels != "0")
    with launcher.running(options=(*options, *_group(name))) as worker:
        ready_s = worker.until_it_says("/readyz", "^200 ", GIVE_UP_S)
        yield Finding(f"{name}: ready", f"{ready_s:.1f} s (at most {READY_WITHIN_S:.0f})", ready_s <= READY_WITHIN_S)
        yield _restrictions(worker, name, options)
        worker.until_it_says("/metrics", r"^viewer_consumer_events_total\{type=\"join\"\} [1-9]", GIVE_UP_S)
        yield Finding(f"{name}: events", "counted")
        yield _stop_finding(f"{name}: stop when ready", [worker.stop()])


def _restrictions(worker: Container, name: str, options: tuple[str, ...]) -> Finding:
    """That the options have their effect: user, capabilities, no new privileges, seccomp."""
    status = dict(line.split(":\t") for line in worker.run("cat", "/proc/1/status").splitlines() if ":\t" in line)
    uid, privileges, seccomp = status["Uid"].split()[0], status["NoNewPrivs"].strip(), status["Seccomp"].strip()
    capabilities = int(status["CapEff"], 16)
    hardened = privileges == "1" and int(status["CapBnd"], 16) == 0
    met = uid != "0" and capabilities == 0 and seccomp == "2" and (hardened or not options)
    return Finding(f"{name}: process", f"uid {uid}, no new privileges {privileges}, seccomp {seccomp}", met)


def check_little_cpu(launcher: Launcher) -> Iterator[Finding]:
    """Half a core, as a small request with a limit gives: measured, and never restarted by a liveness probe."""
    options = (*ANY_USER, "--cpus=0.5", *_group("half"))
    with launcher.running(options=options) as worker:
        ready_s = worker.until_it_says("/readyz", "^200 ", GIVE_UP_S)
        yield Finding("read-only, any user, half a core: ready", f"{ready_s:.1f} s (30)", ready_s <= 2 * READY_WITHIN_S)


def check_early_stops(launcher: Launcher) -> Iterator[Finding]:
    """SIGTERM in the first instants, when Python is not there yet or imports its modules."""
    stops = []
    for delay_s in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8):
        with launcher.running(options=_group("early")) as worker:
            time.sleep(delay_s)
            stops.append(worker.stop())
    yield _stop_finding("stop in the first instants", stops)


def check_cold_stops(launcher: Launcher) -> Iterator[Finding]:
    """A stop while kernels are compiled, by processes into a cache, or where none can be kept."""
    for where, cache in (("into a cache", "/tmp/cache"), ("without a cache", "/nowhere")):  # noqa: S108  # a container's
        options = (f"--env=NUMBA_CACHE_DIR={cache}", *HARDENED, *_group("cold"))
        stops = [_stop_while_starting(launcher, options, delay_s) for delay_s in (0.0, 1.0, 4.0, 8.0)]
        yield _stop_finding(f"stop while compiling {where}", stops)


def _stop_while_starting(launcher: Launcher, options: tuple[str, ...], delay_s: float) -> Stopped:
    with launcher.running(options=options) as worker:
        worker.until_it_says("/startupz", "^503 (compiling|loading)", GIVE_UP_S)
        time.sleep(delay_s)
        worker.until_it_says("/startupz", "^503 (compiling|loading)", 1.0)
        return worker.stop()


def check_health(launcher: Launcher) -> Iterator[Finding]:
    """The image's health check finds the port wherever it is set, and sees a worker that hangs."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "settings.toml"
        file.write_text("[http]\nport = 9501\n")
        file.chmod(0o644)
        ways = (
            _Way("a file", 9501, ("run", "--config", "/etc/settings.toml"), file=str(file)),
            _Way("a variable", 9502, ("run",), (*READ_ONLY, "--env=VIEWER_CONSUMER_HTTP__PORT=9502")),
            _Way("a flag", 9503, ("run", "--set", "http.port=9503"), READ_ONLY),
        )
        for way in ways:
            yield from _check_health_by(launcher, way)


class _Way(NamedTuple):
    """Where the port is set."""

    name: str
    port: int
    command: tuple[str, ...]
    options: tuple[str, ...] = HARDENED
    file: str = ""


def _check_health_by(launcher: Launcher, way: _Way) -> Iterator[Finding]:
    options = ("--health-interval=1s", "--health-retries=1", *way.options, *_group(way.name))
    files = ((way.file, way.command[-1]),) if way.file else ()
    with launcher.running(*way.command, options=options, files=files) as worker:
        worker.until_it_says("/readyz", "^200 ", GIVE_UP_S, way.port)
        for signal, status in ((None, "healthy"), ("STOP", "unhealthy")):
            if signal is not None:
                worker.signal(signal)
            until(partial(_has_health, worker, status), f"{status} with the port from {way.name}", 60)
            what = "of a worker that hangs, " if signal else ""
            yield Finding(f"health {what}with the port from {way.name}", status)


def _has_health(worker: Container, status: str) -> bool:
    return worker.state(".State.Health.Status") == status


def _group(name: str) -> tuple[str, ...]:
    """A group of its own for each check; one that is killed delays no other."""
    group = "".join(letter if letter.isalnum() else "-" for letter in name)
    values = {
        "KAFKA__BOOTSTRAP_SERVERS": "kafka:9092",
        "KAFKA__GROUP_ID": group,
        "KAFKA__STATE_TOPIC": f"{group}-state",
    }
    schema = '{"1": "/usr/share/viewer-consumer/schemas/viewer_event.avsc"}'
    return tuple(f"--env=VIEWER_CONSUMER_{key}={value}" for key, value in {**values, "INPUT__IDS": schema}.items())


def _stop_finding(what: str, stops: list[Stopped]) -> Finding:
    times = ", ".join(f"{stop.seconds:.1f}" for stop in stops)
    codes = sorted({stop.exit_code for stop in stops})
    met = codes == [0] and max(stop.seconds for stop in stops) <= STOPPED_WITHIN_S
    return Finding(what, f"{times} s (at most {STOPPED_WITHIN_S:.0f}), exit code {', '.join(map(str, codes))}", met)


def fill_input(launcher: Launcher) -> None:
    """Send events for the workers to count."""
    sizes = ("--streams=5", "--viewers=50", f"--events={EVENTS}", "--speed=0")
    launcher.output_of("simulate", *sizes, options=_group("audience"))
