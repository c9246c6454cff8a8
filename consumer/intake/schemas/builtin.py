"""The schemas bundled with this package."""

import json
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[2]
_PLACES = (_PACKAGE / "schemas", _PACKAGE.parent / "schemas")
"""Inside an installed package, and beside it in a checkout."""


def builtin_schema_text(name: str) -> str:
    """The JSON text of the schema `name`, as `viewer_event`.

    Raises:
        FileNotFoundError: this package has no such schema.
    """
    file_name = f"{name}.avsc"
    for place in _PLACES:
        path = place / file_name
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise FileNotFoundError(f"no schema {file_name} in {' or '.join(map(str, _PLACES))}")


def load_builtin_schema(name: str) -> Any:
    """The schema `name` as parsed JSON.

    Raises:
        FileNotFoundError: this package has no such schema.
    """
    return json.loads(builtin_schema_text(name))
