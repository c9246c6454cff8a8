"""Read Avro containers and JSON lines for `aggregate`."""
