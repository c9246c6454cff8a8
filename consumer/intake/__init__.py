"""Framed bytes in, event columns out."""
