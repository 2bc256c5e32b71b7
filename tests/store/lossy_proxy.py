"""A proxy in front of a PostgreSQL server that loses what a test tells it to lose.

For example, the server has committed, and the connection breaks before its response arrives.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path


class Loss(StrEnum):
    """What is lost of the next COMMIT: the server's response to it, or the command itself."""

    RESPONSE = "response"
    COMMAND = "command"


class LossyProxy:
    """A proxy to the server's Unix socket.

    lose: what to lose of the next COMMIT, after `commits_to_spare` others; lost: how many were hit. breaks: asked
    for each message in either direction whether the connection breaks instead.
    """

    def __init__(self, socket: Path, *, breaks: Callable[[], bool] = lambda: False) -> None:
        self._socket = socket
        self._breaks = breaks
        self.lose: Loss | None = None
        self.lost = self.commits_to_spare = 0
        self.connections_to_refuse = 0
        """How many connections to refuse before accepting one again."""

    @asynccontextmanager
    async def listening(self, database: str = "postgres") -> AsyncIterator[str]:
        """Yields the address of a database behind this proxy."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            yield f"postgresql://postgres@127.0.0.1:{port}/{database}?sslmode=disable"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.connections_to_refuse:
            self.connections_to_refuse -= 1
            writer.close()
            return
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(str(self._socket))
        except OSError:  # the server is away
            writer.transport.abort()
            return
        responses = asyncio.create_task(self._forward(server_reader, writer))
        try:
            while data := await reader.read(65536):
                if self.lose and b"COMMIT" in data and not self._spared():
                    loss, self.lose = self.lose, None
                    self.lost += 1
                    responses.cancel()
                    await asyncio.wait({responses})
                    if loss is Loss.RESPONSE:
                        server_writer.write(data)
                        await server_reader.read(65536)  # the server has committed
                    break
                if self._breaks():
                    self.lost += 1
                    break
                server_writer.write(data)
                await server_writer.drain()
        except ConnectionError:
            pass
        finally:
            responses.cancel()
            writer.transport.abort()
            server_writer.transport.abort()

    def _spared(self) -> bool:
        """Whether this COMMIT passes."""
        spared = self.commits_to_spare > 0
        self.commits_to_spare -= spared
        return spared

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if self._breaks():
                    self.lost += 1
                    break
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.transport.abort()
