"""Kafka access off the hot path: topics, stored state, dead letters, group offsets."""
