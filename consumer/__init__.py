"""viewer-consumer: viewer events of live video in, one exact summary for every closed bucket out."""

__version__ = "0.1.0"
