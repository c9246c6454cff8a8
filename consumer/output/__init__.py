"""Records that go out: bucket summaries and dead letters."""
