"""A TCP proxy between daemon and broker that adds latency, swallows bytes, and cuts after a chosen request."""

import asyncio
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from integration.kafka_broker import free_port

END_TXN = 26  # Kafka's api_key of EndTxn
CHUNK = 64 * 2**10


class Proxy:
    """Forwards `port` to `target_port` on this host; its faults are switched on and off while it runs.

    latency: seconds that every piece is held up on its way, in each direction
    swallowing: take everything and pass nothing on, also on new connections: half-open
    cuts: how many EndTxn requests are still followed by a cut, once the broker has been given them
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.latency, self.swallowing, self.cuts, self.cut_done = 0.0, False, 0, 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._half_open: set[asyncio.StreamWriter] = set()  # they stay so: bytes are missing

    def start(self, target_port: int) -> None:
        self._thread.start()

        async def serve() -> None:
            async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await self._connect(reader, writer, target_port)

            self._server = await asyncio.start_server(connected, "127.0.0.1", self.port)

        self._wait(serve())

    def heal(self) -> None:
        """Forward as a wire does."""
        self.latency, self.swallowing, self.cuts = 0.0, False, 0

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._wait(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        try:
            behind, ahead = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.transport.abort()
            return
        ways = asyncio.create_task(self._requests(reader, ahead)), asyncio.create_task(self._answers(behind, writer))
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for end in (writer, ahead):
            end.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, ahead: asyncio.StreamWriter) -> None:
        """Pass requests on one by one, until one of them is to be followed by a cut."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(6)
                size, api_key = struct.unpack(">ih", head)
                await self._forward(head + await reader.readexactly(size - 2), ahead)
                if api_key == END_TXN and self.cuts > 0:
                    self.cuts -= 1
                    self.cut_done += 1
                    return

    async def _answers(self, behind: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await behind.read(CHUNK):
                await self._forward(piece, writer)

    async def _forward(self, piece: bytes, to: asyncio.StreamWriter) -> None:
        if self.latency:
            await asyncio.sleep(self.latency)
        if self.swallowing:
            self._half_open.add(to)
        if to not in self._half_open:
            to.write(piece)
            await to.drain()
