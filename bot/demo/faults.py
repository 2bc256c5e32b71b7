"""Faults on demand: how the local gateway misbehaves when it is told to.

A real gateway loses answers, breaks off and dawdles. Each of these is a value that a test hands in for the next
request of a kind.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from aiohttp import web

_SOME_VIDEO = b"\x00\x00\x00\x18ftypisom" + bytes(10_000)
"""What may break off in its middle: it begins as an MP4 does."""


class Route(StrEnum):
    """The kinds of request."""

    CREATE = "create"
    LOOK = "look"
    RESULT = "result"


class Ending(StrEnum):
    """How a request ends.

    ANSWER: with an answer. RESET: the connection is reset. HANG: never, until the client goes. HALF: the answer
    breaks off in its middle.
    """

    ANSWER = "answer"
    RESET = "reset"
    HANG = "hang"
    HALF = "half"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request.

    status: the answer's, None for the real answer. body: sent as JSON unless it is text or bytes.
    takes_effect: whether the gateway does its work first (a create: the task exists). delay_s: before anything.
    """

    status: int | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    ending: Ending = Ending.ANSWER
    takes_effect: bool = False
    delay_s: float = 0

    @property
    def works(self) -> bool:
        """Whether the gateway does its work: when it is told to, or when nothing but a delay was asked for."""
        return self.takes_effect or (self.status is None and self.body is None and self.ending is Ending.ANSWER)

    async def play(self, request: web.Request, real: web.StreamResponse | None) -> web.StreamResponse:
        """Ends the request as told. `real`: the answer of a gateway that did its work."""
        match self.ending:
            case Ending.HANG:
                await asyncio.Event().wait()
            case Ending.RESET:
                _reset(request)
            case Ending.HALF:
                return await _break_off(request, self._bytes() or _SOME_VIDEO, dict(self.headers))
            case Ending.ANSWER:
                pass
        if self.status is None and real is not None:
            return real
        answer = web.Response(status=self.status or 200, body=self._bytes(), headers=self.headers)
        if "Content-Type" not in self.headers and not isinstance(self.body, str | bytes):
            answer.content_type = "application/json"
        return answer

    def _bytes(self) -> bytes:
        match self.body:
            case None:
                return b""
            case bytes(data):
                return data
            case str(text):
                return text.encode()
            case value:
                return json.dumps(value).encode()


def _reset(request: web.Request) -> None:
    """Ends the connection with an RST: the client's system reports a reset, not an orderly end."""
    transport = request.transport
    if transport is None:
        return
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _break_off(request: web.Request, body: bytes, headers: dict[str, str]) -> web.StreamResponse:
    answer = web.StreamResponse(headers={**headers, "Content-Length": str(len(body))})
    await answer.prepare(request)
    await answer.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return answer
