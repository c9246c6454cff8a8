"""The images that the tests need: pulled where the engine can, else made here.

A base with Python is made by debootstrap, and one with Kafka's jars and Debian's Java stands in for Kafka's image.
"""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.image.engine import Engine, EngineError
from tests.support.broker import CACHE, KAFKA_VERSION, fetching, kafka_jars

IMAGE = "viewer-consumer:image-test"
PYTHON_IMAGE = "python:3.11-slim-bookworm"
KAFKA_IMAGE = f"apache/kafka:{KAFKA_VERSION}"
PROMETHEUS_IMAGE = "prom/prometheus:v3.1.0"

_OURS = "viewer-consumer-test-"
_STAND_IN = Path(__file__).parent / "kafka"
_SUITE = "bookworm"
_INCLUDE = "python3.11,python3.11-venv,python3-distutils,ca-certificates"
_DEBOOTSTRAP_TIMEOUT_S = 600.0


@contextlib.contextmanager
def made_images_removed(engine: Engine) -> Iterator[None]:
    """Remove the images at the end that were made for these tests; those that were pulled stay."""
    try:
        yield
    finally:
        listed = engine.call("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
        names = [name.removeprefix("localhost/") for name in listed]
        for name in (one for one in names if one == IMAGE or one.startswith(_OURS)):
            engine.call("image", "rm", name)


def python_image(engine: Engine, *, own: bool) -> str:
    """Return the name of the image's base; `own`: made here, without a look at registries."""
    if not own and engine.has(PYTHON_IMAGE):
        return PYTHON_IMAGE
    name = f"{_OURS}python"
    engine.call("import", str(_debian_with_python()), name)
    return name


def kafka_image(engine: Engine, base: str, *, own: bool) -> str:
    """Return the name of an image that starts Kafka as `apache/kafka` does."""
    if not own and engine.has(KAFKA_IMAGE):
        return KAFKA_IMAGE
    name = f"{_OURS}kafka:{KAFKA_VERSION}"
    with tempfile.TemporaryDirectory() as directory:
        context = Path(directory) / "context"
        shutil.copytree(_STAND_IN, context)
        shutil.copytree(kafka_jars(), context / "libs")
        engine.build(name, context, "--build-arg", f"BASE={base}")
    return name


def prometheus_image(engine: Engine, base: str, *, own: bool) -> str | None:
    """Return the name of an image of Prometheus, made of this machine's where there is no other; None without any."""
    if not own and engine.has(PROMETHEUS_IMAGE):
        return PROMETHEUS_IMAGE
    program = shutil.which("prometheus")
    if program is None:
        return None
    name = f"{_OURS}prometheus"
    with tempfile.TemporaryDirectory() as context:
        shutil.copy(program, Path(context) / "prometheus")
        command = (
            '["prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/tmp/prometheus"]'
        )
        text = f"FROM {base}\nCOPY prometheus /usr/local/bin/prometheus\nENTRYPOINT {command}\n"
        (Path(context) / "Dockerfile").write_text(text)
        engine.build(name, Path(context))
    return name


def _debian_with_python() -> Path:
    """Return the archive of a small Debian; the first call fetches it."""
    archive = CACHE / f"debian-{_SUITE}-python.tar"
    with fetching("debootstrap.lock"):
        if not archive.exists():
            _bootstrap(archive)
    return archive


def _bootstrap(archive: Path) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="debian-") as directory:
        root, unfinished = Path(directory) / "root", Path(directory) / "unfinished.tar"
        command = ["debootstrap", "--variant=minbase", f"--include={_INCLUDE}", _SUITE, str(root), *_mirror()]
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", timeout=_DEBOOTSTRAP_TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            raise EngineError(f"debootstrap failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        for name in ("python", "python3"):
            (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3.11")
        # A machine behind a proxy may have authorities of its own.
        authorities = Path("etc/ssl/certs/ca-certificates.crt")
        shutil.copyfile(Path("/") / authorities, root / authorities)
        leave_out = [f"--exclude=./{path}" for path in ("dev/*", "var/cache/*", "var/lib/apt/lists/*", "var/log/*")]
        subprocess.run(["tar", "-C", str(root), *leave_out, "-cf", str(unfinished), "."], check=True, timeout=120)
        unfinished.rename(archive)


def _mirror() -> list[str]:
    """The mirror of this machine's own apt, if that is of the same release; else debootstrap has one."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", f"Codename: {_SUITE}"],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    ).stdout.split()
    return listed[:1]
