"""Compile a writer schema and the field mapping into a column program."""
