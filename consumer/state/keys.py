"""Keys of the records of the state topic; those of rows begin with `b"r"` (see `windows.storage.rows`)."""

CHECKPOINT = b"c"
JOURNAL = b"j"
FINDING = b"f"
ROW_PREFIX = b"r"
