"""Poll, read keys, and draw, until it is told to stop."""

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.live import Live

from consumer.top.keys import Keys
from consumer.top.view import View, screen
from consumer.top.workers import WorkerFigures, WorkerPoller

REFRESH_S = 0.25
QUIT = "q"


def show_workers(pollers: Sequence[WorkerPoller], console: Console, keys: Keys, is_stopped: Callable[[], bool]) -> bool:
    """Draw until `q` is pressed or a stop is asked for; without a terminal print it once.

    Returns:
        Whether a worker answered last.
    """
    for poller in pollers:
        poller.start()
    try:
        if console.is_terminal:
            _draw(pollers, console, keys, is_stopped)
        else:
            figures = [poller.wait_for_answer() for poller in pollers]
            console.print(screen(figures, View(), console.width, len(figures) * 2 + 1_000))
    finally:
        for poller in pollers:
            poller.stop()
    return any(not one.problem for one in _newest(pollers))


def _draw(pollers: Sequence[WorkerPoller], console: Console, keys: Keys, is_stopped: Callable[[], bool]) -> None:
    view = View()
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while not is_stopped():
            live.update(screen(_newest(pollers), view, console.width, console.height), refresh=True)
            key = keys.wait(REFRESH_S)
            if key == QUIT:
                return
            view = view.pressed(key)
            for poller in pollers:
                poller.sort = view.sort


def _newest(pollers: Sequence[WorkerPoller]) -> list[WorkerFigures]:
    return [poller.newest for poller in pollers]
