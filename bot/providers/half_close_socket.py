"""A socket that still reads the response after a failed write.

A gateway may refuse an order while its picture is still being uploaded, and hang up at once. The response has
arrived by then, but the next write fails, and asyncio closes a connection at the first failed write, dropping the
unread response: a refusal that cost nothing would count as a lost answer. Here a failed write is ignored, and the
read side delivers the response and then the end of the connection. Used for creates only.
"""

import socket
from collections.abc import Iterable
from typing import Any

AddrInfo = tuple[Any, ...]
"""As returned by `socket.getaddrinfo`: family, type, protocol, canonical name, address."""


class HalfCloseSocket(socket.socket):
    """Pretends that data was sent once the peer is gone, so that its response is still read."""

    def send(self, data: Any, flags: int = 0, /) -> int:
        """As `socket.send`, but a broken connection accepts everything."""
        try:
            return super().send(data, flags)
        except ConnectionError:
            return memoryview(data).nbytes

    def sendmsg(self, buffers: Iterable[Any], /, *more: Any) -> int:
        """As `socket.sendmsg`, which newer versions of asyncio use instead of `send`."""
        pieces = list(buffers)
        try:
            return super().sendmsg(pieces, *more)
        except ConnectionError:
            return sum(memoryview(piece).nbytes for piece in pieces)


def half_close_socket(info: AddrInfo) -> HalfCloseSocket:
    """The `socket_factory` for aiohttp."""
    family, kind, protocol, *_ = info
    return HalfCloseSocket(family=family, type=kind, proto=protocol)
