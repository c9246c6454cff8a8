"""The window core: pure functions and arrays that turn event columns into closed buckets."""
