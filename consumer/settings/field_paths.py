"""Check the paths of fields in writer schemas: names with dots between."""

import re

_RULE = 'must be a field name, or several with dots between, as "content.id"'
_ROOT = re.compile(r"^(\$\.?|#?/)")
_QUOTED_STEP = re.compile(r"\[\s*(?:'([^']*)'|\"([^\"]*)\")\s*\]")
_INDEX_STEP = re.compile(r"\[\s*(?:-?\d+|\*|:)?\s*\]")


def field_path(path: str) -> str:
    """Check one path; a step may be any key of a map, so only what other notations of paths have is refused.

    Raises:
        ValueError: it is not a path; with a suggestion where there is one.
    """
    steps, rule = path.split("."), f'{_RULE}, not "{path}"'
    if _INDEX_STEP.search(path) or "*" in steps:
        raise ValueError(f"{rule}; no path leads into an array")
    if all(steps) and path == path.strip() and not _ROOT.match(path) and "[" not in path and "]" not in path:
        return path
    meant = _in_our_notation(path)
    raise ValueError(f'{rule}; did you mean "{meant}"?' if meant else rule)


def _in_our_notation(path: str) -> str:
    """The path that was probably meant; empty if unclear."""
    meant = _QUOTED_STEP.sub(lambda step: f".{step[1] or step[2]}", path.strip())
    if pointer := _ROOT.match(meant):
        meant = meant[pointer.end() :]
        if "/" in pointer[0]:
            meant = meant.replace("/", ".")
    meant = ".".join(step for step in meant.split(".") if step)
    return "" if set(meant) & set("[]$/") else meant
