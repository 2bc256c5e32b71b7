"""Scripted Discord faults: what happens to a request instead of, or after, taking effect.

`FaultPhase.AFTER` is the hard case: the request took effect, and the caller never learns it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Literal

from tests.discord_server.models import Json


class FaultPhase(StrEnum):
    """Whether the fault occurs before or after the request takes effect."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True)
class Answer:
    """A response other than the correct one."""

    status: int
    body: Json | str
    headers: Mapping[str, str] = field(default_factory=dict)
    phase: FaultPhase = FaultPhase.BEFORE


@dataclass(frozen=True)
class Reset:
    """The connection breaks without a response. `graceful`: closed (FIN) instead of reset (RST)."""

    phase: FaultPhase = FaultPhase.BEFORE
    graceful: bool = False


@dataclass(frozen=True)
class Hang:
    """No response until the caller gives up or the server closes."""

    phase: FaultPhase = FaultPhase.BEFORE


@dataclass(frozen=True)
class Truncated:
    """Half of the response's bytes, then the connection ends."""

    phase: FaultPhase = FaultPhase.AFTER


@dataclass(frozen=True)
class CloseWebsocket:
    """The websocket is closed with this code before any message."""

    code: int
    phase: FaultPhase = FaultPhase.BEFORE


Fault = Answer | Reset | Hang | Truncated | CloseWebsocket


def server_error(status: int = 502, *, phase: FaultPhase = FaultPhase.BEFORE) -> Answer:
    """A 5xx as Discord's edge servers send it: not JSON."""
    return Answer(status, f"<html><h1>{status}</h1></html>", phase=phase)


def not_json() -> Answer:
    """A proxy's HTML page instead of the response, although the request took effect."""
    return Answer(200, "<html>Welcome to the network</html>", phase=FaultPhase.AFTER)


def refused(status: int, code: int, message: str) -> Answer:
    """A refusal with one of Discord's JSON error codes."""
    return Answer(status, {"message": message, "code": code})


def rate_limited(retry_after_s: float, scope: Literal["user", "global", "shared"] = "user") -> Answer:
    """A 429 as Discord's API gives it (discord.com/developers/docs/topics/rate-limits)."""
    headers = {"Via": "1.1 google", "Retry-After": str(max(1, round(retry_after_s))), "X-RateLimit-Scope": scope}
    if scope == "global":
        headers["X-RateLimit-Global"] = "true"
    else:
        headers |= {
            "X-RateLimit-Limit": "5",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset-After": str(retry_after_s),
            "X-RateLimit-Bucket": "scripted",
        }
    text = "The resource is being rate limited." if scope == "shared" else "You are being rate limited."
    return Answer(429, {"message": text, "retry_after": retry_after_s, "global": scope == "global"}, headers)


def banned_by_cloudflare(retry_after_s: int = 600) -> Answer:
    """The 429 of Cloudflare in front of Discord: no `Via`, no JSON, and a long wait."""
    return Answer(429, "error code: 1015", {"Retry-After": str(retry_after_s)})


@dataclass
class _Scripted:
    method: str
    pattern: str
    fault: Fault
    times: int
    text: str


class FaultScript:
    """The pending faults, oldest first."""

    def __init__(self) -> None:
        self._scripted: list[_Scripted] = []

    def add(self, method: str, pattern: str, fault: Fault, times: int, text: str = "") -> None:
        self._scripted.append(_Scripted(method, pattern, fault, times, text))

    def take(self, method: str, path: str, content: str = "") -> Fault | None:
        """Takes the next fault for this request, if any. content: of the message that it writes."""
        for scripted in self._scripted:
            matches = scripted.method in (method, "*") and fnmatchcase(path, scripted.pattern)
            if scripted.times and matches and scripted.text in content:
                scripted.times -= 1
                return scripted.fault
        return None

    def clear(self) -> None:
        self._scripted.clear()

    @property
    def is_any_left(self) -> bool:
        """Whether a fault waits for its request."""
        return any(scripted.times for scripted in self._scripted)


class GlobalLimit:
    """How many requests Discord takes in a second (documentation, "Global Rate Limit"); None: as many as come."""

    def __init__(self) -> None:
        self.a_second: int | None = None
        self._began = 0.0
        self._taken = 0

    def take(self, counts: bool) -> Answer | None:  # noqa: FBT001 - the only thing to say
        """The refusal of what is too much. counts: responses to interactions and webhooks don't."""
        if self.a_second is None or not counts:
            return None
        now = time.monotonic()
        if now - self._began >= 1:
            self._began, self._taken = now, 0
        self._taken += 1
        return None if self._taken <= self.a_second else rate_limited(self._began + 1 - now, "global")
