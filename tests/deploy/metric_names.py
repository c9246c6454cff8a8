"""Find the names in PromQL."""

import re


def metric_names(expression: str) -> set[str]:
    """Names of metrics and of recorded series."""
    names = re.findall(r"[A-Za-z_][\w:]*", _without_strings(expression))
    return {name for name in names if re.match(r"(?:viewer|process|python)_|up$|ALERTS$|.*:", name)}


def label_names(expression: str) -> set[str]:
    """Names of labels that are matched or grouped by."""
    text = _without_strings(expression)
    matched = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", text)
    grouped = re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", text)
    return set(matched) | {name.strip() for names in grouped for name in names.split(",")}


def _without_strings(expression: str) -> str:
    return re.sub(r'"[^"]*"', '""', expression)
