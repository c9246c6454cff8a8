"""`viewer-consumer top`: workers and their streams as a live table in the terminal."""
