"""The direction of imports between packages, read from the imports themselves, and the contents of the top folder."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "consumer"
MODULES = sorted(PACKAGE.rglob("*.py"))

TOP = {"__init__.py", "__main__.py", "errors.py", "aggregate.py", "DESIGN.md"}
"""The only files and folders allowed beside the packages."""

ENGINE = {"intake", "windows", "runtime", "settings", "errors"}
MAY_IMPORT = {
    "__main__": {"cli", "runtime"},
    "cli": {
        "demo",
        "top",
        "aggregate",
        "simulate",
        "worker",
        "retry",
        "state",
        "kafka",
        "intake",
        "output",
        "observe",
        *ENGINE,
    },
    "demo": {"top", "simulate", "worker", "kafka", "observe", *ENGINE},
    "top": {"observe", "runtime", "errors"},
    "aggregate": {"output", *ENGINE},
    "simulate": {"kafka", *ENGINE},
    "worker": {"state", "kafka", "output", "observe", *ENGINE},
    "retry": {"state", "kafka", "output", *ENGINE},
    "state": {"kafka", *ENGINE},
    "kafka": {"settings", "runtime", "errors"},
    "observe": {"windows", "runtime", "settings", "errors"},
    "output": ENGINE,
    "intake": {"windows", "runtime", "settings", "errors"},
    "settings": {"windows", "runtime", "errors"},
    "windows": {"runtime"},
    "runtime": {"errors"},
    "errors": set(),
}
"""For each package: the packages and top-level modules it may import, besides itself."""

ONLY = {
    ("output", "intake"): {"consumer.intake.schemas"},
    ("simulate", "intake"): {"consumer.intake.schemas.builtin"},
    ("intake", "windows"): {"consumer.windows.events"},
    ("observe", "windows"): {"consumer.windows.events", "consumer.windows.layout"},
    ("simulate", "windows"): {"consumer.windows.events"},
    ("settings", "windows"): {"consumer.windows.rules"},
    ("output", "windows"): {"consumer.windows.closing", "consumer.windows.partition", "consumer.windows.layout"},
}
"""Where one package may import only part of another."""

PURE = {"consumer.worker.idleness", "consumer.worker.circuit_breaker"}
"""Modules outside `windows` that are as pure as `windows` is."""

IMPURE = {
    "asyncio", "concurrent", "datetime", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets",
    "socket", "structlog", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "urllib3", "uuid",
}  # fmt: skip


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(module: str) -> str:
    """Return the package, or the module if it is at the top."""
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of each imported module, wherever the import is in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                is_module = (PACKAGE.parent / Path(*module.split("."))).with_suffix(".py").exists()
                yield module if is_module else str(node.module)


def own_imports(path: Path) -> Iterator[str]:
    return (module for module in imports(path) if module.startswith("consumer."))


def is_within(module: str, places: set[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def is_pure(module: str) -> bool:
    return package_of(module) == "windows" or module in PURE


def test_the_top_folder_holds_only_packages_and_a_few_files() -> None:
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert {path.name for path in entries if path.is_file()} == TOP
    packages = {path.name for path in entries if path.is_dir()}
    assert packages == set(MAY_IMPORT) - {"__main__", "aggregate", "errors"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_follow_the_direction(path: Path) -> None:
    module, package = name_of(path), package_of(name_of(path))
    for imported in own_imports(path):
        target = package_of(imported)
        if target == package:
            continue
        assert target in MAY_IMPORT[package], f"{module} imports {imported}"
        part = ONLY.get((package, target))
        assert part is None or is_within(imported, part), f"{module} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_kafka_package_imports_the_client_library(path: Path) -> None:
    if package_of(name_of(path)) != "kafka":
        assert "confluent_kafka" not in {imported.split(".")[0] for imported in imports(path)}


def test_there_is_no_import_cycle() -> None:
    graph = {name_of(path): set(own_imports(path)) - {name_of(path)} for path in MODULES}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle
    packages: dict[str, set[str]] = {package: set() for package in MAY_IMPORT}
    for module, imported in graph.items():
        if package := package_of(module):
            packages[package] |= {package_of(name) for name in imported} - {package}
    TopologicalSorter(packages).prepare()


@pytest.mark.parametrize("path", [path for path in MODULES if is_pure(name_of(path))], ids=name_of)
def test_windows_and_the_pure_modules_of_the_worker_are_pure(path: Path) -> None:
    roots = {imported.split(".")[0] for imported in imports(path)}
    assert not roots & IMPURE
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"open", "print", "input"}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not attributes & {"random", "datetime64"}
