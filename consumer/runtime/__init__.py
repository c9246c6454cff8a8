"""Clocks, signals, durations, and the cache of compiled code."""
