"""Benchmarks on a real broker: numbers and ratios of one run, because machines differ and fluctuate."""
