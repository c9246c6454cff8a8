"""The settings that shape results. Each checkpoint keeps them, because a replay runs under the settings before it."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from consumer.settings.model import InputSettings, Settings, WindowSettings
from consumer.state.journal import StateError

_NOT_OF_WINDOWS = {"partition_idle_ms"}
"""When the clock moves time on is in the journal."""

_NOT_OF_INPUT = {
    "schema_registry_url",
    "schema_registry_user",
    "schema_registry_password",
    "schema_registry_token",
    "schema_registry_ca_file",
    "schemas",
    "ids",
    "start",
    "unknown_schema_wait_ms",
    "breaker",
}
"""Where schemas come from, as whom, and how long they are waited for; what was judged by it is in the journal. Files
may have moved since; one that reads records otherwise than before shows in the digest of a replay."""

FIXED = ("windows.bucket_ms", "windows.counting")
"""These can't change while there is state."""

ResultSettings = Mapping[str, Mapping[str, Any]]


def result_settings_of(settings: Settings) -> dict[str, dict[str, Any]]:
    """The part of the settings that shapes results, as JSON can hold it."""
    return {
        "windows": settings.windows.model_dump(mode="json", exclude=_NOT_OF_WINDOWS),
        "input": settings.input.model_dump(mode="json", exclude=_NOT_OF_INPUT),
    }


def settings_of(shape: ResultSettings, current: Settings) -> Settings:
    """The settings in force, with what shapes results as it was.

    Raises:
        StateError: this release can't take it.
    """
    try:
        windows = WindowSettings.model_validate({**_kept(current.windows, _NOT_OF_WINDOWS), **shape["windows"]})
        source = InputSettings.model_validate({**_kept(current.input, _NOT_OF_INPUT), **shape["input"]})
    except (KeyError, TypeError, ValidationError) as error:
        raise StateError(f"the settings of the checkpoint cannot be read: {error}") from None
    return current.model_copy(update={"windows": windows, "input": source})


def changed_keys(before: ResultSettings, after: ResultSettings) -> list[str]:
    """Keys, as in the settings, whose values differ."""
    names = [(section, key) for section in after for key in {**before.get(section, {}), **after[section]}]
    return [f"{s}.{key}" for s, key in names if before.get(s, {}).get(key) != after[s].get(key)]


def _kept(section: WindowSettings | InputSettings, names: set[str]) -> dict[str, Any]:
    return section.model_dump(include=names)  # not as JSON, in which secrets are hidden
