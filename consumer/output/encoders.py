"""Choose the encoder of summaries by the settings."""

import json
from functools import partial

import fastavro

from consumer.intake.schemas.access import access_of
from consumer.intake.schemas.builtin import builtin_schema_text
from consumer.intake.schemas.registry import Registry
from consumer.output.summary import Encoder, avro_records, json_records
from consumer.settings.model import Settings

REGISTER_TIMEOUT_S = 10.0


def encoder_from(settings: Settings) -> Encoder:
    """JSON, or Avro; for Avro the schema is registered now under the output topic's value subject.

    Raises:
        ViewerConsumerError: the registry doesn't answer, or refuses the schema.
    """
    if settings.output.format == "json":
        return json_records
    text = builtin_schema_text("bucket_summary")
    registry = Registry(access_of(settings.input))
    schema_id = registry.register(f"{settings.kafka.output_topic}-value", text, REGISTER_TIMEOUT_S)
    return partial(avro_records, fastavro.parse_schema(json.loads(text)), schema_id)
