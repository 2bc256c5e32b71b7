"""A gateway of which every task is still running, as small as one can be: it must not be what is measured.

    python busy_gateway.py

It prints its port, and from then on, for each line on its input, how many polls it has answered.
"""

import asyncio
import re
import sys

_POLL = re.compile(rb"GET \S*/task/(\S+) HTTP/1\.1\r\n")
_END = b"\r\n\r\n"


class BusyGateway(asyncio.Protocol):
    """One connection."""

    answered = 0

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers each whole request."""
        *requests, self._received = (self._received + data).split(_END)
        for request in requests:
            poll = _POLL.match(request)
            assert poll is not None, request
            body = b'{"id": "%b", "status": "in_progress", "progress": 0.5, "usage": {"cost": 0.125}}' % poll[1]
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d%b%b"
                % (len(body), _END, body)
            )
            BusyGateway.answered += 1


async def serve() -> None:
    """Serves until its input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(BusyGateway, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(BusyGateway.answered, flush=True)


if __name__ == "__main__":
    asyncio.run(serve())
