"""Sessions counting: which viewers are present, and the presence statistics of each bucket."""
