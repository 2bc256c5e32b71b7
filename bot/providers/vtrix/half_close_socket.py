"""A socket that lets the gateway finish its sentence.

A gateway may refuse an order while its picture is still on the way, and hang up at once. The answer has arrived
then, but the next write fails, and asyncio closes a connection at the first failed write, unread answer and all:
a refusal that cost nothing would count as an order that may be paid. Here a failed write says nothing; the read
side tells what came, and then that the connection is over. For creates only: nobody else sends that much.
"""

import socket
from collections.abc import Iterable
from typing import Any

AddrInfo = tuple[Any, ...]
"""As `socket.getaddrinfo` gives it: family, type, protocol, canonical name, address."""


class ListeningSocket(socket.socket):
    """Takes what can't be sent any more for sent. What is left to be read is still read."""

    def send(self, data: Any, flags: int = 0, /) -> int:
        """As `socket.send`, but a broken connection takes everything."""
        try:
            return super().send(data, flags)
        except ConnectionError:
            return memoryview(data).nbytes

    def sendmsg(self, buffers: Iterable[Any], /, *more: Any) -> int:
        """As `socket.sendmsg`, which newer versions of asyncio call instead of `send`."""
        pieces = list(buffers)
        try:
            return super().sendmsg(pieces, *more)
        except ConnectionError:
            return sum(memoryview(piece).nbytes for piece in pieces)


def listening_socket(info: AddrInfo) -> ListeningSocket:
    """The factory that aiohttp asks for each connection."""
    family, kind, protocol, *_ = info
    return ListeningSocket(family=family, type=kind, proto=protocol)
