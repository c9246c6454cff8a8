"""Logs on stderr: text on a terminal, else JSON lines; without secrets.

The one place that sets the process's logging; only the command line calls it.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from consumer.observe.client_lines import LOGGER_NAME, ClientLines
from consumer.runtime.secret import HIDDEN, is_secret

_USER_INFO = re.compile(r"(?<=://)[^/\s@]+@")
_ASSIGNED_SECRET = re.compile(
    # A path that ends so, as of a token server, is not what follows it.
    r"(?<!/)((?:passw(?:or)?d|secret|token|api.?key)[\w.\-]*[\"']?\s*[=:]\s*[\"']?)[^\s,;\"'&]+",
    re.IGNORECASE,
)


def set_up_logs(level: str, stream: TextIO, environ: Mapping[str, str], *, as_text: bool = False) -> None:
    """Send this process's logs, structlog's and the stdlib's, to one stream.

    Args:
        level: "debug", "info", "warning" or "error".
        stream: stderr. On a terminal lines are text, in colour unless NO_COLOR is set; else JSON.
        environ: the source of NO_COLOR and TERM.
        as_text: text in any case, for people who read a pipe.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared(),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(stream, environ, as_text=as_text),
            ],
        )
    )
    client = logging.getLogger(LOGGER_NAME)
    client.filters = [each for each in client.filters if not isinstance(each, ClientLines)]
    client.addFilter(ClientLines(level))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # It warns of every request that waits for another one, and of what clients do.
    logging.getLogger("waitress").setLevel(logging.ERROR)
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Processor: hides the values of fields named like secrets, and secrets inside any text."""
    return {name: HIDDEN if is_secret(name) else _hidden(value) for name, value in event.items()}


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return _ASSIGNED_SECRET.sub(rf"\1{HIDDEN}", _USER_INFO.sub(f"{HIDDEN}@", value))
    if isinstance(value, Mapping):
        return {name: HIDDEN if is_secret(str(name)) else _hidden(inner) for name, inner in value.items()}
    return value


def _shared() -> list[Processor]:
    """The processors of every line."""
    return [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _rendering(stream: TextIO, environ: Mapping[str, str], *, as_text: bool) -> list[Processor]:
    """Exceptions become text before secrets are hidden, so that a traceback hides them too."""
    text_and_hide: list[Processor] = [structlog.processors.format_exc_info, hide_secrets]
    if not (as_text or stream.isatty()):
        return [*text_and_hide, structlog.processors.JSONRenderer(default=str)]
    colours = stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    return [*text_and_hide, structlog.dev.ConsoleRenderer(colors=colours)]
