"""A seeded audience that behaves as real ones do."""
