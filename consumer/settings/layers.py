"""Merge the layers of settings (flags over environment over file), with the origin of each value.

A layer is read into leaves, pairs of a path like `("windows", "bucket_ms")` and a value; later layers overwrite
earlier ones leaf by leaf. The origin of each leaf is stored, so that an error can name it.
"""

import copy
import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel

from consumer.errors import UsageError

ENV_PREFIX = "VIEWER_CONSUMER_"

_SERVICE = r"([A-Z0-9_]*[A-Z0-9]_)?"
_OF_A_SERVICE = re.compile(
    _SERVICE + r"(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_ADDRESS_OF_A_SERVICE = re.compile(_SERVICE + "PORT")
_SERVICE_URL = re.compile("(tcp|udp|sctp)://.*")
"""What Kubernetes sets for a service named `viewer-consumer`, `viewer-consumer-metrics` and so on. No key of ours ends
like these behind a single underscore, but for PORT: there the value decides, which is an address with a scheme."""

_IN_FILE = "__FILE"
"""Suffix of a variable that holds the path of a file with the setting."""

_CLIENT = ("kafka", "client")

KeyPath = tuple[str, ...]
Location = Sequence[str | int]


class Layers(NamedTuple):
    """The merged layers, with the origin of each leaf and error lines for unreadable ones."""

    values: dict[str, Any]
    origins: dict[KeyPath, str]
    errors: list[str]

    def explain(self, location: Location, message: str) -> str:
        """One line: `where: key: message`."""
        path = _path_of(location)
        return _line(self.origin(path), _dotted(location), message)

    def explain_keys(self, keys: Sequence[str], message: str) -> str:
        """The same for conflicting settings, with the origin of the first that was set."""
        paths = [_split(key) for key in keys]
        origin = next((origin for path in paths if (origin := self.origin(path))), "")
        return _line(origin, keys[0], message)

    def without(self, locations: Sequence[Location]) -> dict[str, Any]:
        """A copy of the values with each location reset to its default."""
        values = copy.deepcopy(self.values)
        for location in locations:
            parent, name = None, ""
            node: Any = values
            for part in _path_of(location):
                if not isinstance(node, dict) or part not in node:
                    break
                parent, name, node = node, part, node[part]
            if parent is not None:
                del parent[name]
        return values

    def origin(self, location: Location) -> str:
        """The origin of a value, or of one above or below it; "" for a default."""
        path = _path_of(location)
        for size in range(len(path), 0, -1):
            if path[:size] in self.origins:
                return self.origins[path[:size]]
        around = path if self._holds(path) else path[:-1]  # a missing key: its table
        return next((origin for leaf, origin in self.origins.items() if around and leaf[: len(around)] == around), "")

    def _holds(self, path: KeyPath) -> bool:
        return any(leaf[: len(path)] == path for leaf in self.origins)


def read_layers(config: Path | None, overrides: Sequence[str], environ: Mapping[str, str]) -> Layers:
    """Read and merge the three layers; an unreadable part becomes an error line, the rest is merged."""
    layers = Layers({}, {}, [])
    if config is not None:
        try:
            _merge(layers, _leaves(_read_toml(config)), str(config))
        except UsageError as error:
            layers.errors.append(str(error))
    for name, text in sorted(environ.items()):
        rest = name.removeprefix(ENV_PREFIX)
        if rest == name or _is_of_a_service(rest, text):
            continue
        if rest.endswith(_IN_FILE):
            _merge_file(layers, name, Path(text), environ)
        else:
            _merge(layers, _leaves(_value(text), _variable_path(rest)), name)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not all(key.split(".")):
            layers.errors.append(f"--set {key}: must be section.key=value")
            continue
        _merge(layers, _leaves(_value(text), _split(key)), "--set")
    return layers


def _is_of_a_service(rest: str, text: str) -> bool:
    """Whether an orchestrator has set this variable for a service whose name begins like ours."""
    if _OF_A_SERVICE.fullmatch(rest):
        return True
    return _ADDRESS_OF_A_SERVICE.fullmatch(rest) is not None and _SERVICE_URL.fullmatch(text) is not None


def _merge_file(layers: Layers, name: str, path: Path, environ: Mapping[str, str]) -> None:
    """A setting from a file, as orchestrators provide secrets; always text."""
    variable = name.removesuffix(_IN_FILE)
    if variable in environ:
        layers.errors.append(f"{name}: {variable} is set too; set only one of them")
        return
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        layers.errors.append(f"{name}: {path}: cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        layers.errors.append(f"{name}: {path}: is not UTF-8 text")
    else:
        leaf = (_variable_path(variable.removeprefix(ENV_PREFIX)), text.removesuffix("\n").removesuffix("\r"))
        _merge(layers, iter([leaf]), name)


def unknown_key(location: Location, model: type[BaseModel], origin: str) -> str:
    """The message for an unknown key: a suggestion, or the list of keys."""
    path = _path_of(location)
    if origin.startswith(ENV_PREFIX) and (variable := _with_double_underscores(origin, model)):
        return f"unknown key; did you mean {variable}?"
    siblings = _keys_of(model, path[:-1])
    close = difflib.get_close_matches(path[-1], siblings, n=1)
    meant = _dotted([*location[:-1], close[0]]) if close else _anywhere(path, model)
    if meant and origin.startswith(ENV_PREFIX):
        meant = variable_name(meant)
    return f"unknown key; did you mean {meant}?" if meant else f"unknown key; there are {', '.join(siblings)}"


def variable_name(key: str) -> str:
    """The environment variable of a dotted key."""
    return ENV_PREFIX + key.upper().replace(".", "__")


def _with_double_underscores(name: str, model: type[BaseModel]) -> str | None:
    """The variable of ours that this one is, but for double underscores."""
    flat = name.replace("__", "_")
    for key in _tables_and_keys(model, ()):
        variable = variable_name(".".join(key))
        start = variable.replace("__", "_")
        if flat == start:
            return variable
        if key == _CLIENT and flat.startswith(f"{start}_"):
            return f"{variable}__{flat.removeprefix(f'{start}_')}"
    return None


def _tables_and_keys(model: type[BaseModel], path: KeyPath) -> Iterator[KeyPath]:
    for name, field in model.model_fields.items():
        yield (*path, name)
        if (below := _model_in(field.annotation)) is not None:
            yield from _tables_and_keys(below, (*path, name))


def _read_toml(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{config}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{config}: is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{config}: is not valid TOML: {error}") from None


def _leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _leaves(below, (*path, name))
    else:
        yield path, value


def _merge(layers: Layers, leaves: Iterator[tuple[KeyPath, Any]], origin: str) -> None:
    for raw_path, value in leaves:
        path = _client_as_one(raw_path)
        node = layers.values
        for part in path[:-1]:
            below = node.get(part)
            if not isinstance(below, dict):
                below = node[part] = {}
            node = below
        node[path[-1]] = value
        layers.origins[path] = origin


def _value(text: str) -> Any:
    """Parse lists and tables as JSON or TOML; anything else stays text, to be parsed by the key's type."""
    if not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _variable_path(rest: str) -> KeyPath:
    """`WINDOWS__BUCKET_MS` → windows.bucket_ms; `KAFKA__CLIENT__SASL_PASSWORD` → kafka.client's `sasl.password`."""
    path = tuple(rest.lower().split("__"))
    if path[:2] == _CLIENT:
        return (*_CLIENT, *(part.replace("_", ".") for part in path[2:]))
    return path


def _client_as_one(path: KeyPath) -> KeyPath:
    """Names of librdkafka contain dots, which TOML and flags treat as tables: join the rest of such a path."""
    return (*_CLIENT, ".".join(path[2:])) if path[:2] == _CLIENT and len(path) > 2 else path


def _split(key: str) -> KeyPath:
    return _client_as_one(tuple(key.split(".")))


def _path_of(location: Location) -> KeyPath:
    return tuple(str(part) for part in location if part != "[key]")


def _dotted(location: Location) -> str:
    text = ""
    for part in location:
        if part not in {"[key]", "parts"}:  # in settings the parts of a field are a list
            text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _line(origin: str, key: str, message: str) -> str:
    return f"{origin}: {key}: {message}" if origin else f"{key}: {message}"


def _keys_of(model: type[BaseModel], path: KeyPath) -> list[str]:
    for part in path:
        if part.isdigit():
            continue  # of a list
        below = _model_in(model.model_fields[part].annotation) if part in model.model_fields else None
        if below is None:
            return []
        model = below
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _anywhere(path: KeyPath, model: type[BaseModel]) -> str | None:
    """A key of another section by the same or nearly the same name."""
    keys = [f"{section}.{key}" for section in model.model_fields for key in _keys_of(model, (section,))]
    same = [key for key in keys if key.rpartition(".")[2] == path[-1]]
    close = same or difflib.get_close_matches(".".join(path), keys, n=1, cutoff=0.75)
    return close[0] if close else None
