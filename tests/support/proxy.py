"""A TCP proxy between clients and brokers, so that connections can be cut, refused, held and slowed.

One listener stands for each target. An event loop in a thread of its own moves the bytes; what a test asks for has
happened when the call returns.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

R = TypeVar("R")

_CHUNK = 16_384
_HOST = "127.0.0.1"


class Proxy:
    """Forwards connections on `ports[i]` to `targets[i]`, all on this machine; use it as a context manager."""

    def __init__(self, targets: Sequence[int]) -> None:
        self._targets = targets
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._leading: set[asyncio.Task[None]] = set()
        self._accepting = True
        self._flowing = asyncio.Event()
        self._delay_s = 0.0
        self._bytes_per_s = 0.0
        self.ports: list[int] = []

    def __enter__(self) -> "Proxy":
        self._thread.start()
        self._call(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def connections(self) -> int:
        """Return the number of connections that are forwarded now."""
        return len(self._writers) // 2

    def cut(self) -> None:
        """Break all connections; new ones are forwarded."""
        self._call(self._abort_all)

    def refuse(self) -> None:
        """Break all connections, and new ones as soon as they are made, until `resume`."""
        self._accepting = False
        self.cut()

    def hold(self) -> None:
        """Keep all connections but forward no bytes, until `resume`."""
        self._call(self._stop_flow)

    def slow(self, delay_s: float = 0.0, bytes_per_s: float = 0.0) -> None:
        """Delay every piece of at most 16 KiB and limit the rate, until `resume`.

        Args:
            delay_s: for each piece, in each direction.
            bytes_per_s: of each connection and direction; 0 is no limit.
        """
        self._delay_s, self._bytes_per_s = delay_s, bytes_per_s

    def resume(self) -> None:
        """Forward everything without delay again."""
        self._accepting = True
        self.slow()
        self._call(self._start_flow)

    def _call(self, what: Callable[[], Awaitable[R]]) -> R:
        async def call() -> R:
            return await what()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    async def _listen(self) -> None:
        self._flowing.set()
        for target in self._targets:
            server = await asyncio.start_server(partial(self._accept, target), _HOST, 0)
            self._servers.append(server)
            self.ports.append(server.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        self._flowing.set()
        await self._abort_all()
        for task in self._leading:
            task.cancel()
        await asyncio.gather(*self._leading, return_exceptions=True)

    async def _abort_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _stop_flow(self) -> None:
        self._flowing.clear()

    async def _start_flow(self) -> None:
        self._flowing.set()

    def _accept(self, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: Python 3.11 logs an error for each cancelled one that it makes of a coroutine itself.
        task = self._loop.create_task(self._lead(target, reader, writer))
        self._leading.add(task)
        task.add_done_callback(self._leading.discard)

    async def _lead(self, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._accepting:
            writer.transport.abort()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection(_HOST, target)
        except OSError:  # the broker is down
            writer.transport.abort()
            return
        ends = {writer, there_writer}
        if not self._accepting:  # since it was accepted
            for end in ends:
                end.transport.abort()
            return
        self._writers |= ends
        try:
            await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward bytes until one side ends; then end the other side, which ends the opposite pump."""
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                await self._wait(len(chunk))
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()

    async def _wait(self, size: int) -> None:
        wait_s = self._delay_s + (size / self._bytes_per_s if self._bytes_per_s else 0.0)
        if wait_s:
            await asyncio.sleep(wait_s)
        await self._flowing.wait()
