"""The cache of compiled kernels on disk, which may be damaged or of another release."""

import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from consumer.runtime import jit

PROJECT = Path(__file__).parents[2]

HASH_ONE = """
import numpy as np
from consumer.windows.layout import new_state
from consumer.windows.streams import row_of
row = row_of(new_state((1, 2)), np.zeros(3, np.uint8))
print(row, sum(row_of.stats.cache_hits.values()))
"""


TWO_KERNELS = """
import numpy as np
from consumer.windows.layout import new_state
from consumer.windows.streams import hash_streams, row_of
state = new_state((1, 2))
row_of(state, np.zeros(3, np.uint8)), hash_streams(state)
"""

READ_ONLY = """
import os, sys
def refuse(event, arguments):
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if writes or event in {"os.mkdir", "os.rename"}:
        raise OSError(30, "Read-only file system")
sys.addaudithook(refuse)
"""

FULL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
"""
"""A write past the limit fails as one on a full disk does."""


def looked_up(cache: Path, project: Path = PROJECT) -> list[int]:
    """Return the result of a kernel, and how often it came from the cache."""
    ran = run(HASH_ONE, cache, project)
    assert ran.stderr == ""
    return [int(word) for word in ran.stdout.split()]


def run(code: str, cache: Path, project: Path = PROJECT, **environment: str) -> "subprocess.CompletedProcess[str]":
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_DISABLE_JIT": "0", "NUMBA_CACHE_DIR": str(cache)} | environment,
        cwd=project,
        capture_output=True,
        encoding="utf-8",
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran


def test_a_cache_that_names_missing_modules_is_rebuilt(tmp_path: Path) -> None:
    assert looked_up(tmp_path) == [-1, 0]
    assert looked_up(tmp_path) == [-1, 1]
    (index,) = tmp_path.rglob("*.nbi")
    index.write_bytes(pickle.dumps(numba.__version__) + b"cconsumer.windows.gone\nThing\n.")
    assert looked_up(tmp_path) == [-1, 0]
    assert looked_up(tmp_path) == [-1, 1]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with one kernel."""
    cache = tmp_path_factory.mktemp("made")
    looked_up(cache)
    return cache


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the package, without the kernels that a worker may have stored beside the sources."""
    shutil.copytree(PROJECT / "consumer", tmp_path / "project/consumer", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "project"


def test_a_cache_is_read_where_it_cannot_be_written(made: Path) -> None:
    ran = run(READ_ONLY + HASH_ONE, made)
    assert (ran.stdout, ran.stderr) == ("-1 1\n", "")


@pytest.mark.parametrize("disk", [READ_ONLY, FULL_DISK], ids=["read-only", "full"])
def test_a_kernel_that_cannot_be_stored_is_compiled_and_one_line_says_so(
    tmp_path: Path, project: Path, disk: str
) -> None:
    ran = run(disk + HASH_ONE, tmp_path / "cache", project, XDG_CACHE_HOME=str(tmp_path))
    assert ran.stdout == "-1 0\n"
    (line,) = ran.stderr.splitlines()
    assert line.startswith("compiled kernels cannot be kept in ")
    assert not list(tmp_path.rglob("*.nbi"))


def test_one_line_is_for_all_kernels_that_cannot_be_stored(tmp_path: Path, project: Path) -> None:
    ran = run(READ_ONLY + TWO_KERNELS, tmp_path / "cache", project, XDG_CACHE_HOME=str(tmp_path))
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize(("suffix", "damage"), [("nbi", b""), ("nbi", bytes(4096)), ("nbc", b""), ("nbc", None)])
def test_a_damaged_cache_is_rebuilt(made: Path, tmp_path: Path, suffix: str, damage: bytes | None) -> None:
    """No damage given: one bit of the machine code is flipped."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    (file,) = tmp_path.rglob(f"*.{suffix}")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage is None else damage)
    assert looked_up(tmp_path) == [-1, 0]
    assert looked_up(tmp_path) == [-1, 1]


ONE_SPECIALIZATION = """
import numpy as np
from consumer.runtime.jit import called, compiled, inlined
@inlined
def add(a, b):
    return a + b
@called
def subtract(a, b):
    return a - b
@compiled
def both(words, number):
    return add(add(0, number), add(words[0], 7)) + subtract(subtract(1, number), subtract(words[0], 7))
print(both(np.ones(1, np.int32), 5), len(add.overloads), len(subtract.overloads))
"""


def test_a_part_is_compiled_once_whatever_constants_and_integers_it_is_called_with(tmp_path: Path) -> None:
    assert run(ONE_SPECIALIZATION, tmp_path).stdout == "15 1 1\n"


UNCACHED = "from consumer.worker import warm_up; from consumer.runtime.jit import uncached; print(*uncached())"


def test_it_knows_which_kernels_the_cache_lacks(tmp_path: Path) -> None:
    every = run(UNCACHED, tmp_path).stdout.split()
    assert len(every) == len(set(every)) > 20
    looked_up(tmp_path)
    assert set(every) - set(run(UNCACHED, tmp_path).stdout.split()) == {"consumer.windows.streams.row_of"}


def test_kernels_that_others_made_are_not_looked_for(tmp_path: Path) -> None:
    made = "from consumer.runtime.jit import compiled; mine = compiled(lambda number: number); "
    assert run(made + UNCACHED, tmp_path).stdout == run(UNCACHED, tmp_path).stdout


def test_a_kernel_that_cannot_be_kept_is_not_looked_for_in_the_cache(tmp_path: Path, project: Path) -> None:
    assert run(READ_ONLY + UNCACHED, tmp_path / "cache", project, XDG_CACHE_HOME=str(tmp_path)).stdout == "\n"


def test_without_a_home_nothing_is_written_to_the_working_directory(tmp_path: Path) -> None:
    """numba would keep its files in a folder `~` there."""
    where = (
        "import os, pwd; from pathlib import Path; os.environ.pop('HOME', None)\n"
        "pwd.getpwuid = lambda number: {}[number]\n"
        "from consumer.runtime import jit; print(*jit._directories('/app/kernels.py'))"
    )
    ran = run(where, tmp_path, NUMBA_CACHE_DIR="", XDG_CACHE_HOME="")
    assert ran.stdout == "/app/__pycache__\n"


def test_the_cache_depends_on_every_module_with_kernels() -> None:
    package = Path(jit.__file__).parents[1]
    imports = re.compile("from consumer.runtime.jit import .*(compiled|inlined|called)")
    with_kernels = {path for path in package.rglob("*.py") if imports.search(path.read_text())}
    assert len(with_kernels) > 20
    assert with_kernels <= set(jit.kernel_sources())
    imported_by_kernels = {package / "windows/layout.py", package / "windows/viewers/layout.py"}
    assert imported_by_kernels <= set(jit.kernel_sources())


def test_a_change_in_a_subfolder_recompiles(tmp_path: Path) -> None:
    package = tmp_path / "consumer"
    shutil.copytree(Path(jit.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    assert looked_up(tmp_path / "cache", tmp_path) == [-1, 0]
    assert looked_up(tmp_path / "cache", tmp_path) == [-1, 1]
    with (package / "windows/viewers/table.py").open("a") as source:
        source.write("# changed\n")
    assert looked_up(tmp_path / "cache", tmp_path) == [-1, 0]
