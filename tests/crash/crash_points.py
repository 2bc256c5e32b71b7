"""Where processes are killed: at each fault point, at each moment of it, at the first and at a later hit."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from bot.demo.faults import Route
from tests.crash.databases import Deployment
from tests.crash.fault_points import FaultPoint


class CrashMoment(StrEnum):
    """The moment of death. Unanswered: the request is out and no answer came; it took effect or not."""

    BEFORE = "before"
    UNANSWERED = "unanswered, without effect"
    UNANSWERED_AFTER_EFFECT = "unanswered, with effect"
    AFTER = "after"


@dataclass(frozen=True)
class DiscordRequest:
    """A kind of request to Discord."""

    method: str
    path: str


POST, EDIT, HISTORY = (
    DiscordRequest("POST", "/channels/*/messages"),
    DiscordRequest("PATCH", "/channels/*/messages/*"),
    DiscordRequest("GET", "/channels/*/messages"),
)

REQUESTS: dict[FaultPoint, DiscordRequest | Route] = {
    FaultPoint.SUBMIT: Route.CREATE,
    FaultPoint.POLL: Route.LOOK,
    FaultPoint.DOWNLOAD: Route.RESULT,
    FaultPoint.POST_STATUS: POST,
    FaultPoint.POST_VIDEO: POST,
    FaultPoint.POST_FAILURE: POST,
    FaultPoint.POST_CARD: POST,
    FaultPoint.POST_NOTIFICATION: POST,
    FaultPoint.EDIT_STATUS: EDIT,
    FaultPoint.CLOSE_CARD: EDIT,
    FaultPoint.FIND_MESSAGE: HISTORY,
    FaultPoint.FIND_NOTIFICATION: HISTORY,
}
"""What goes out at each point that is a request; the others are transactions."""

READ_ONLY = frozenset({Route.LOOK, Route.RESULT, HISTORY})
"""Requests that change nothing: whether they were done makes no difference."""

REPLIES = {
    "reply: deferred": DiscordRequest("POST", "/interactions/*/*/callback"),
    "reply: ordered": DiscordRequest("PATCH", "/webhooks/*/*/messages/@original"),
}
"""What a member is told privately; a command's own answer has no fault point but the wire."""

ONCE_PER_PROCESS = frozenset({FaultPoint.RELEASE})
"""Reached once in the life of a process."""


HITS = {Deployment.SQLITE: (1, 2), Deployment.POSTGRESQL: (2,), Deployment.TWO_WORKERS: (1,)}


@dataclass(frozen=True)
class CrashPoint:
    """One death. place: the fault point, or the reply that gets no answer."""

    place: FaultPoint | str
    when: CrashMoment
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.place}, {self.when}, #{self.nth}"

    @property
    def request(self) -> DiscordRequest | Route | None:
        return REQUESTS.get(self.place) if isinstance(self.place, FaultPoint) else REPLIES[self.place]


def points(kind: Deployment) -> Iterator[CrashPoint]:
    """All of them, the first and a later time: on PostgreSQL, two workers die the first time, one the later."""
    for point in FaultPoint:
        for nth in (1,) if point in ONCE_PER_PROCESS else HITS[kind]:
            yield CrashPoint(point, CrashMoment.BEFORE, nth)
            if point in REQUESTS:
                yield CrashPoint(point, CrashMoment.UNANSWERED, nth)
                if REQUESTS[point] not in READ_ONLY:
                    yield CrashPoint(point, CrashMoment.UNANSWERED_AFTER_EFFECT, nth)
            yield CrashPoint(point, CrashMoment.AFTER, nth)
    for reply in REPLIES:
        yield from (
            CrashPoint(reply, when) for when in (CrashMoment.UNANSWERED, CrashMoment.UNANSWERED_AFTER_EFFECT)
        )
