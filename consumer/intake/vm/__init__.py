"""The compiled interpreter that runs a column program over the bytes of a batch."""
