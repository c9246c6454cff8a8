"""How fast it is, on a real broker: figures and ratios of one run, because machines differ and swing."""
