"""Remove from an installation what a worker never imports: tests of packages, headers, numba's CUDA target.

Called while the image is built, before the kernels are compiled: what they need must still be there.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("**/tests", "numba/cuda", "numpy/_core/include", "numpy/f2py", "numpy/distutils")
FILES = ("**/*.h", "**/*.hpp", "**/*.a", "**/*.pyi", "**/*.pyx", "**/*.pxd", "**/*.c", "**/*.cpp", "**/*.map")


def superfluous(packages: Path) -> Iterator[Path]:
    """Yield folders and files that can go."""
    yield from (path for pattern in FOLDERS for path in packages.glob(pattern) if path.is_dir())
    yield from (path for pattern in FILES for path in packages.glob(pattern) if path.is_file())


def size_of(path: Path) -> int:
    """Bytes of a file, or of all in a folder."""
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else (path,)) if file.is_file())


def main(installation: Path) -> None:
    """Remove it and print how much it was."""
    (packages,) = installation.glob("lib/python3.*/site-packages")
    removed = 0
    for path in superfluous(packages):
        removed += size_of(path) if path.exists() else 0
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    print(f"removed {removed / 1e6:.0f} MB")  # noqa: T201  # shown by the build


if __name__ == "__main__":
    main(Path(sys.argv[1]))
