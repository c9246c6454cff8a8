"""The only room that knows Kafka's client."""
