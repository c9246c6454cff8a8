"""The rooms of the code, and which way dependencies point: read from the imports themselves."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "consumer"
ROOMS = ("intake", "kafka", "observe", "output", "simulate", "state", "windows")
MODULES = sorted(PACKAGE.rglob("*.py"))

FOR_ALL = {"consumer", "consumer.errors", "consumer.settings", "consumer.compiled"}
"""What every room may import."""

WINDOWS_FOR_ALL = {"consumer.windows.events"}
WINDOWS_FOR_OUTPUT = {"consumer.windows.closing", "consumer.windows.partition", "consumer.windows.state"}
"""Closed buckets are what output turns into records."""

SIMULATE_MAY = {"consumer.intake.builtin", "consumer.kafka"}
"""The simulator writes our schema, to a topic."""

STATE_MAY = {
    "consumer.intake",
    "consumer.kafka.interface",
    "consumer.kafka.batch",
    "consumer.windows",
    "consumer.window_rules",
}
"""A restore reads what the client reads, and takes it as the worker does; the client itself it never sees."""

PURE = {"consumer.idleness"}
"""Held to what windows are held to."""

IMPURE = {
    "asyncio", "concurrent", "datetime", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets",
    "socket", "structlog", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "urllib3", "uuid",
}  # fmt: skip


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "consumer" and parts[1] in ROOMS else None


def imports(path: Path) -> Iterator[str]:
    """The full name of each module imported, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                is_module = (PACKAGE.parent / Path(*module.split("."))).with_suffix(".py").exists()
                yield module if is_module else str(node.module)


def is_within(module: str, places: set[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def is_pure(module: str) -> bool:
    return room_of(module) == "windows" or module in PURE


def allowed(room: str) -> set[str]:
    """What of this package a room may import, besides itself."""
    extra = {"output": WINDOWS_FOR_OUTPUT, "simulate": SIMULATE_MAY, "state": STATE_MAY}
    return WINDOWS_FOR_ALL | extra.get(room, set())


def test_the_rooms_are_there() -> None:
    assert {room_of(name_of(path)) for path in MODULES} - {None} == set(ROOMS)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports(path: Path) -> None:
    module, room = name_of(path), room_of(name_of(path))
    for imported in imports(path):
        if imported.split(".")[0] == "confluent_kafka":
            assert room == "kafka", f"{module} imports the client library"
        if not imported.startswith("consumer") or room is None:
            continue
        fine = imported in FOR_ALL or room_of(imported) == room or is_within(imported, allowed(room))
        assert fine, f"{module} imports {imported}"


@pytest.mark.parametrize("path", [path for path in MODULES if is_pure(name_of(path))], ids=name_of)
def test_windows_and_the_clock_of_quiet_partitions_are_pure(path: Path) -> None:
    roots = {imported.split(".")[0] for imported in imports(path)}
    assert not roots & IMPURE
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"open", "print", "input"}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not attributes & {"random", "datetime64"}


def test_the_worker_and_what_is_around_it_are_imported_by_the_command_line_alone() -> None:
    shell = {"consumer.cli", "consumer.worker", "consumer.service", "consumer.demo", "consumer.aggregate"}
    for path in MODULES:
        if name_of(path) in shell | {"consumer.__main__"}:
            continue
        assert not set(imports(path)) & shell, name_of(path)
