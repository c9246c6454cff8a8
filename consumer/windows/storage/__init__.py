"""Streams as stored rows: writing, loading, and checksums."""
