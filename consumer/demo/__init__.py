"""`run --embedded` and `run --demo`: a broker or topics, a simulated audience, the worker, and a live table."""
