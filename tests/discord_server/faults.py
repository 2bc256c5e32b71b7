"""Discord's bad days, scripted: what a request meets instead of, or after, being done.

`Moment.AFTER` is the nasty one: the thing was done, and the caller never learns it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Literal

from tests.discord_server.state import Json


class Moment(StrEnum):
    """Whether the fault strikes before the request is done, or after it."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True)
class Answer:
    """Another answer than the right one."""

    status: int
    body: Json | str
    headers: Mapping[str, str] = field(default_factory=dict)
    moment: Moment = Moment.BEFORE


@dataclass(frozen=True)
class Reset:
    """The connection breaks without an answer. `polite`: closed (FIN) instead of reset (RST)."""

    moment: Moment = Moment.BEFORE
    polite: bool = False


@dataclass(frozen=True)
class Hang:
    """No answer, for ever: until the caller gives up or the server closes."""

    moment: Moment = Moment.BEFORE


@dataclass(frozen=True)
class Half:
    """Half of the answer's bytes, then nothing: the connection ends."""

    moment: Moment = Moment.AFTER


@dataclass(frozen=True)
class Slam:
    """A websocket that is closed with this code before a word was said."""

    code: int
    moment: Moment = Moment.BEFORE


Fault = Answer | Reset | Hang | Half | Slam


def ill(status: int = 502, *, moment: Moment = Moment.BEFORE) -> Answer:
    """A 5xx as Discord's front servers give it: not JSON."""
    return Answer(status, f"<html><h1>{status}</h1></html>", moment=moment)


def unreadable() -> Answer:
    """A page of some proxy's where an answer was due, though all went well."""
    return Answer(200, "<html>Welcome to the network</html>", moment=Moment.AFTER)


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
    """The 429 of the wall before Discord: no `Via`, no JSON, and a long wait."""
    return Answer(429, "error code: 1015", {"Retry-After": str(retry_after_s)})


@dataclass
class _Scripted:
    method: str
    pattern: str
    fault: Fault
    times: int


class FaultScript:
    """The faults still to come, oldest first."""

    def __init__(self) -> None:
        self._scripted: list[_Scripted] = []

    def add(self, method: str, pattern: str, fault: Fault, times: int) -> None:
        self._scripted.append(_Scripted(method, pattern, fault, times))

    def take(self, method: str, path: str) -> Fault | None:
        """The fault this request meets, if any; used up by that."""
        for scripted in self._scripted:
            if scripted.times and scripted.method in (method, "*") and fnmatchcase(path, scripted.pattern):
                scripted.times -= 1
                return scripted.fault
        return None

    def clear(self) -> None:
        self._scripted.clear()
