"""Choose the encoder of summaries by the settings."""

import json

from consumer.intake.schemas.access import access_of
from consumer.intake.schemas.builtin import builtin_schema_text
from consumer.intake.schemas.registry import Registry
from consumer.output.summary import Origin
from consumer.output.summary_encoding import Encoder, avro_encoder, json_encoder
from consumer.settings.model import Settings

REGISTER_TIMEOUT_S = 10.0


def encoder_from(settings: Settings) -> Encoder:
    """JSON, or Avro; for Avro the schema is registered now under the output topic's value subject.

    Raises:
        ViewerConsumerError: the registry doesn't answer, or refuses the schema.
    """
    origin = Origin(settings.windows.bucket_ms, settings.windows.counting, settings.kafka.input_topic)
    if settings.output.format == "json":
        return json_encoder(origin)
    text = builtin_schema_text("bucket_summary")
    registry = Registry(access_of(settings.input))
    schema_id = registry.register(f"{settings.kafka.output_topic}-value", text, REGISTER_TIMEOUT_S)
    return avro_encoder(json.loads(text), schema_id, origin)
