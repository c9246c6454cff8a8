"""Which settings a checkpoint stores, and which a replay takes from the current settings."""

import json

from consumer.settings.model import Settings, load_settings
from consumer.state.result_settings import result_settings_of, settings_of

SECRETS = ["hunter2", "eyJ-token", "ann"]


def with_secrets(*more: str) -> Settings:
    return load_settings(
        None,
        [
            "input.schema_registry_url=https://registry:8081",
            f"input.schema_registry_user={SECRETS[2]}",
            f"input.schema_registry_password={SECRETS[0]}",
            "input.schema_registry_ca_file=ca.pem",
            f"kafka.client.sasl.password={SECRETS[1]}",
            *more,
        ],
        {},
    )


def test_no_secret_is_stored() -> None:
    kept = json.dumps(result_settings_of(with_secrets()))
    assert not [secret for secret in SECRETS if secret in kept]


def test_a_replay_uses_the_current_registry_and_credentials() -> None:
    before = result_settings_of(load_settings(None, ["windows.grace_ms=7", "input.max_future_ms=9"], {}))
    now = with_secrets("windows.grace_ms=8", "input.breaker=false")
    replayed = settings_of(json.loads(json.dumps(before)), now)
    assert (replayed.windows.grace_ms, replayed.input.max_future_ms) == (7, 9)
    assert replayed.input.schema_registry_password.get_secret_value() == SECRETS[0]
    assert replayed.input.schema_registry_ca_file == now.input.schema_registry_ca_file
    assert result_settings_of(replayed) == before
