"""Stands between a program and a PostgreSQL server, and loses what it is told to lose.

The classic: the server has committed, and the connection breaks before its answer is back.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path


class Loss(StrEnum):
    """Of the next COMMIT: its answer, after it was done; or the very word, so that it never is."""

    ANSWER = "answer"
    COMMAND = "command"


class Lossy:
    """A way to the server's socket. `lose`: what happens to the next COMMIT; `lost` counts those."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self.lose: Loss | None = None
        self.lost = 0
        self.closed_for = 0
        """So many connections are refused before the way is open again."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Gives the address of the database through this way."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.closed_for:
            self.closed_for -= 1
            writer.close()
            return
        there, back = await asyncio.open_unix_connection(str(self._socket))
        answers = asyncio.create_task(self._pass_on(there, writer))
        try:
            while data := await reader.read(65536):
                if self.lose and b"COMMIT" in data:
                    loss, self.lose = self.lose, None
                    self.lost += 1
                    answers.cancel()
                    if loss is Loss.ANSWER:
                        back.write(data)
                        await there.read(65536)  # it is done
                    break
                back.write(data)
                await back.drain()
        except ConnectionError:
            pass
        finally:
            answers.cancel()
            writer.transport.abort()
            back.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
