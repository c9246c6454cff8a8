"""Keys of the state topic's records; those of rows begin with `b"r"` and are the windows' affair."""

CHECKPOINT = b"c"
JOURNAL = b"j"
ROW_PREFIX = b"r"
