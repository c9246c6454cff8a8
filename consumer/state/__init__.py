"""What a partition's state is in its topic: rows, a checkpoint, a journal; and the way back from them."""
