"""A seeded audience that behaves like a real one."""
