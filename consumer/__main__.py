"""The `viewer-consumer` command, also as `python -m consumer` where that is not on the PATH."""

import sys

from consumer.runtime.signals import hold_signals, release_signals


def main() -> None:
    """Run the command line.

    A worker that is told to stop while it is being loaded stops cleanly too: its signals wait until they are handled.
    In the image they are blocked from the first instant, before Python runs; other commands let them through.
    """
    if sys.argv[1:2] == ["run"]:
        hold_signals()
    else:
        release_signals()
    from consumer.cli.main import main as run_command_line  # noqa: PLC0415  # takes most of a second

    run_command_line()


if __name__ == "__main__":
    main()
