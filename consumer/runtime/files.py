"""Files that a command writes."""

from pathlib import Path

from consumer.errors import ViewerConsumerError


def check_overwrite(path: Path, *, force: bool) -> None:
    """Check before a file is opened for writing that it does not exist, or may be overwritten.

    Raises:
        ViewerConsumerError: it exists and is a regular file; pipes and devices are always written.
    """
    if not force and path.is_file():
        raise ViewerConsumerError(f"{path}: exists already; --force overwrites it")
