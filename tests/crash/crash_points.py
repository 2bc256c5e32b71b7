"""Where processes are killed: at each fault point, at each moment of it, at the first and at a later hit."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from bot.demo.faults import Route
from tests.crash.databases import Kind
from tests.crash.fault_points import FaultPoint


class When(StrEnum):
    """The moment of the death. Held, taken: the request is out, its answer isn't back; nothing or all was done."""

    BEFORE = "before"
    HELD = "sent, not done"
    TAKEN = "sent, done"
    AFTER = "after"


@dataclass(frozen=True)
class Wire:
    """A kind of request to Discord."""

    method: str
    path: str


POST, EDIT, HISTORY = (
    Wire("POST", "/channels/*/messages"),
    Wire("PATCH", "/channels/*/messages/*"),
    Wire("GET", "/channels/*/messages"),
)

REQUESTS: dict[FaultPoint, Wire | Route] = {
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

ONLY_LOOKS = frozenset({Route.LOOK, Route.RESULT, HISTORY})
"""Requests that change nothing: whether they were done makes no difference."""

REPLIES = {
    "reply: deferred": Wire("POST", "/interactions/*/*/callback"),
    "reply: ordered": Wire("PATCH", "/webhooks/*/*/messages/@original"),
}
"""What a member is told privately; a command's own answer has no fault point but the wire."""

ONCE = frozenset({FaultPoint.RELEASE})
"""Reached once in the life of a process."""


TIMES = {Kind.SQLITE: (1, 2), Kind.POSTGRESQL: (2,), Kind.TWO_WORKERS: (1,)}


@dataclass(frozen=True)
class Point:
    """One death. place: the fault point, or the reply that gets no answer."""

    place: FaultPoint | str
    when: When
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.place}, {self.when}, #{self.nth}"

    @property
    def request(self) -> Wire | Route | None:
        return REQUESTS.get(self.place) if isinstance(self.place, FaultPoint) else REPLIES[self.place]


def points(kind: Kind) -> Iterator[Point]:
    """All of them, the first and a later time: on PostgreSQL, two workers die the first time, one the later."""
    for point in FaultPoint:
        for nth in (1,) if point in ONCE else TIMES[kind]:
            yield Point(point, When.BEFORE, nth)
            if point in REQUESTS:
                yield Point(point, When.HELD, nth)
                if REQUESTS[point] not in ONLY_LOOKS:
                    yield Point(point, When.TAKEN, nth)
            yield Point(point, When.AFTER, nth)
    for reply in REPLIES:
        yield from (Point(reply, when) for when in (When.HELD, When.TAKEN))
