"""The settings that shape results. Each checkpoint keeps them, because a replay runs under the settings before it."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from consumer.settings.model import InputSettings, Settings, WindowSettings
from consumer.state.journal import StateError

_NOT_OF_WINDOWS = {"partition_idle_ms"}
"""Clock steps are in the journal, so these settings do not shape a replay."""

_NOT_OF_INPUT = {
    "schema_registry_url",
    "schema_registry_user",
    "schema_registry_password",
    "schema_registry_token",
    "schema_registry_ca_file",
    "schema_registry_certificate_file",
    "schema_registry_key_file",
    "schema_registry_key_password",
    "schemas",
    "ids",
    "start",
    "unknown_schema_wait_ms",
    "breaker",
}
"""Where schemas come from and how long they are waited for; the resulting rejects are in the journal. Files may have
moved; a file that decodes records differently is detected by the digest of a replay."""

FIXED = ("windows.bucket_ms", "windows.counting")
"""These can't change while there is state."""

ResultSettings = Mapping[str, Mapping[str, Any]]


def result_settings_of(settings: Settings) -> dict[str, dict[str, Any]]:
    """The settings that shape results, as JSON values."""
    return {
        "windows": settings.windows.model_dump(mode="json", exclude=_NOT_OF_WINDOWS),
        "input": settings.input.model_dump(mode="json", exclude=_NOT_OF_INPUT),
    }


def settings_of(stored: ResultSettings, current: Settings) -> Settings:
    """The current settings with the stored result settings.

    Raises:
        StateError: this release does not accept them.
    """
    try:
        windows = WindowSettings.model_validate({**_kept(current.windows, _NOT_OF_WINDOWS), **stored["windows"]})
        source = InputSettings.model_validate({**_kept(current.input, _NOT_OF_INPUT), **stored["input"]})
    except (KeyError, TypeError, ValidationError) as error:
        raise StateError(f"the settings of the checkpoint cannot be read: {error}") from None
    return current.model_copy(update={"windows": windows, "input": source})


def changed_keys(before: ResultSettings, after: ResultSettings) -> list[str]:
    """The keys of settings whose values differ."""
    names = [(section, key) for section in after for key in {**before.get(section, {}), **after[section]}]
    return [f"{s}.{key}" for s, key in names if before.get(s, {}).get(key) != after[s].get(key)]


def _kept(section: WindowSettings | InputSettings, names: set[str]) -> dict[str, Any]:
    return section.model_dump(include=names)  # not in JSON mode, which hides secrets
