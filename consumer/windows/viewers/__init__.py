"""Sessions counting: which viewers are present, and the presence figures of each bucket."""
