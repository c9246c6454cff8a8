"""Exactly once, whatever crashes: workers, brokers and the network are hurt by a seeded plan, and a judge counts."""
