"""Programs that tests use where they are installed; absent ones skip a test, but fail it where CI=true."""

import os
import shutil

import pytest


def require_tool(name: str, package: str) -> str:
    """Path of a program on the PATH."""
    path = shutil.which(name)
    if path is not None:
        return path
    reason = f"{name} is not installed (Debian package: {package})"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
