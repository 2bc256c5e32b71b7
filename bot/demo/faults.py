"""Faults on demand: how the local gateway misbehaves for a test.

A real gateway loses responses, closes connections midway and is slow. Each of these is a value that a test queues
for the next request of a kind.
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
"""The start of an MP4, to be truncated."""


class Route(StrEnum):
    """The kinds of request."""

    CREATE = "create"
    LOOK = "look"
    RESULT = "result"


class Ending(StrEnum):
    """How a request ends.

    ANSWER: with a response. RESET: the connection is reset. HANG: never, until the client disconnects. HALF: the
    response is truncated.
    """

    ANSWER = "answer"
    RESET = "reset"
    HANG = "hang"
    HALF = "half"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request.

    status: of the response, None for the real response. body: sent as JSON unless it is text or bytes.
    takes_effect: whether the gateway does its work first (creates the task, say). delay_s: before anything.
    """

    status: int | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    ending: Ending = Ending.ANSWER
    takes_effect: bool = False
    delay_s: float = 0

    @property
    def works(self) -> bool:
        """Whether the gateway does its work: if `takes_effect`, or if the fault is a mere delay."""
        return self.takes_effect or (self.status is None and self.body is None and self.ending is Ending.ANSWER)

    async def play(self, request: web.Request, real: web.StreamResponse | None) -> web.StreamResponse:
        """Ends the request. `real`: the response of a gateway that did its work."""
        match self.ending:
            case Ending.HANG:
                await asyncio.Event().wait()
            case Ending.RESET:
                _reset(request)
            case Ending.HALF:
                return await _truncate(request, self._bytes() or _SOME_VIDEO, dict(self.headers))
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
    """Ends the connection with an RST, so that the client sees a reset rather than an orderly close."""
    transport = request.transport
    if transport is None:
        return
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _truncate(request: web.Request, body: bytes, headers: dict[str, str]) -> web.StreamResponse:
    answer = web.StreamResponse(headers={**headers, "Content-Length": str(len(body))})
    await answer.prepare(request)
    await answer.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return answer
