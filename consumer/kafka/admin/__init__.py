"""Everything on Kafka that is off the hot path: topics, stored state, dead letters, group offsets."""
