"""`make image-test`: build the image and run it on a real engine against a real broker; one line a finding.

Docker or Podman is used where it answers; else a private Docker daemon, for which Debian's packages are enough. All
that is started is ended and removed.
"""

import argparse
import contextlib
import signal
import sys
import time
import uuid
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.image.checks import (
    FLAVOURS,
    Finding,
    check_cold_stops,
    check_contents,
    check_early_stops,
    check_flavour,
    check_health,
    check_little_cpu,
    fill_input,
)
from tests.image.composed import check_compose
from tests.image.container import Launcher
from tests.image.engine import Engine, EngineError, NoEngineError, labelled, running_engine
from tests.image.images import IMAGE, kafka_image, made_images_removed, prometheus_image, python_image
from tests.image.kafka_container import kafka_running
from tests.image.private_daemon import private_daemon

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Check and print; return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything is removed
    options = _options()
    with contextlib.ExitStack() as stack:
        found = None if options.private else running_engine()
        try:
            engine = found or stack.enter_context(private_daemon())
        except NoEngineError as error:
            print(f"error: {error}", file=sys.stderr)  # noqa: T201  # for people
            return 1
        _say(f"engine: {engine.name}")
        try:
            findings = list(_shown(_checks(engine, own=found is None)))
        except EngineError as error:
            print(f"error: {error}", file=sys.stderr)  # noqa: T201  # for people
            return 1
    failed = sum(not finding.met for finding in findings)
    _say(f"{len(findings) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # the result


def _options() -> Namespace:
    parser = argparse.ArgumentParser(prog="make image-test ARGS=…", description=__doc__)
    parser.add_argument("--private", action="store_true", help="use a private daemon though an engine answers")
    return parser.parse_args()


def _shown(findings: Iterator[Finding]) -> Iterator[Finding]:
    for finding in findings:
        _say(f"{'ok    ' if finding.met else 'FAILED'} {finding.what}: {finding.measured}")
        yield finding


def _checks(engine: Engine, *, own: bool) -> Iterator[Finding]:
    label = f"viewer-consumer-image-test-{uuid.uuid4().hex[:8]}"
    with made_images_removed(engine), labelled(engine, label):
        base = python_image(engine, own=own)
        began_s = time.monotonic()
        engine.build(IMAGE, ROOT, "--build-arg", f"BASE={base}", "--file", str(ROOT / "deploy/Dockerfile"))
        yield Finding("build", f"{time.monotonic() - began_s:.0f} s on {base}")
        images = {
            "VIEWER_CONSUMER_IMAGE": IMAGE,
            "KAFKA_IMAGE": kafka_image(engine, base, own=own),
            "PROMETHEUS_IMAGE": prometheus_image(engine, base, own=own),
        }
        engine.call("network", "create", "--label", label, label)
        launcher = Launcher(engine, label, label, IMAGE)
        yield from _guarded("contents", lambda: check_contents(launcher, base))
        yield from _checks_with_kafka(launcher, images["KAFKA_IMAGE"] or "")
        yield from _guarded("compose", lambda: check_compose(engine, label, images))


def _checks_with_kafka(launcher: Launcher, kafka: str) -> Iterator[Finding]:
    with kafka_running(launcher._replace(image=kafka)):
        fill_input(launcher)
        for name, options in FLAVOURS.items():
            yield from _guarded(name, partial(check_flavour, launcher, name, options))
        for check in (check_little_cpu, check_early_stops, check_cold_stops, check_health):
            yield from _guarded(check.__name__, partial(check, launcher))


def _guarded(what: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A check that raises has failed; the next ones run."""
    try:
        yield from check()
    except (EngineError, AssertionError) as error:
        yield Finding(what, str(error), met=False)


if __name__ == "__main__":
    sys.exit(main())
