"""The running worker: the service, the loop, one task per owned partition, and the steps of a turn."""
