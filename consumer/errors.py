"""The errors that people see.

```
ViewerConsumerError      one clear line on stderr, exit code 1
└── UsageError           what was asked for is wrong: exit code 2
```
Packages derive their own errors from these; every message says what is wrong, where, and what to do.
"""


class ViewerConsumerError(Exception):
    """Something stops this run; the message is a whole sentence for the person who runs it."""

    exit_code = 1


class UsageError(ViewerConsumerError):
    """The settings, flags or arguments are wrong; nothing was started."""

    exit_code = 2
