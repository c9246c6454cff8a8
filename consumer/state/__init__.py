"""The stored state of a partition: rows, a checkpoint and a journal, and how a worker restores it."""
