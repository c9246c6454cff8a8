"""What the timestamps of the input topic mean for events whose clock is fast."""

_BY_TYPE = {
    "LogAppendTime": (
        "the broker's clock: an event ahead of its record is taken at the record's time, so a fast player clock "
        "changes nothing for others"
    ),
    "CreateTime": (
        "the producer's clock: an event ahead of its record is taken at the record's time. That protects where a "
        "collector stamps records on arrival. Records that carry the event's own time (Flink and Kafka Streams copy "
        "it) are believed, up to input.max_future_ms ahead of the worker's clock"
    ),
    "": "the cluster does not report the topic's message.timestamp.type; it takes DescribeConfigs on the topic",
}


def timestamps_text(timestamp_type: str) -> str:
    """A line about a `message.timestamp.type`, empty if it is not known."""
    meaning = _BY_TYPE.get(timestamp_type, "a type that this release does not know")
    return f"timestamps: {timestamp_type or 'unknown'}, {meaning}"
