"""Where writer schemas come from: the built-in schema, pinned files, and the registry, behind one cache."""
