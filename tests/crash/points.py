"""Where processes are killed: each seam, each moment of it, and a first and a later time that it is reached."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from bot.demo.faults import Route
from bot.seams import Seam
from tests.crash.houses import Kind


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

REQUESTS: dict[Seam, Wire | Route] = {
    Seam.CREATE: Route.CREATE,
    Seam.LOOK: Route.LOOK,
    Seam.DOWNLOAD: Route.RESULT,
    Seam.POST_STATUS: POST,
    Seam.POST_VIDEO: POST,
    Seam.POST_NOTE: POST,
    Seam.POST_CARD: POST,
    Seam.POST_NOTICE: POST,
    Seam.EDIT_STATUS: EDIT,
    Seam.CLOSE_CARD: EDIT,
    Seam.FIND: HISTORY,
    Seam.FIND_NOTICE: HISTORY,
}
"""What goes out at each seam that is a request; the others are transactions."""

ONLY_LOOKS = frozenset({Route.LOOK, Route.RESULT, HISTORY})
"""Requests that change nothing: whether they were done makes no difference."""

REPLIES = {
    "reply: deferred": Wire("POST", "/interactions/*/*/callback"),
    "reply: ordered": Wire("PATCH", "/webhooks/*/*/messages/@original"),
}
"""What a member is told privately; a command's own answer has no seam but the wire."""

ONCE = frozenset({Seam.RELEASE})
"""Reached once in the life of a process."""


TIMES = {Kind.SQLITE: (1, 2), Kind.POSTGRESQL: (2,), Kind.TWO_WORKERS: (1,)}


@dataclass(frozen=True)
class Point:
    """One death. place: the seam, or the reply that gets no answer."""

    place: Seam | str
    when: When
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.place}, {self.when}, #{self.nth}"

    @property
    def request(self) -> Wire | Route | None:
        return REQUESTS.get(self.place) if isinstance(self.place, Seam) else REPLIES[self.place]


def points(kind: Kind) -> Iterator[Point]:
    """All of them, the first and a later time: on PostgreSQL, two workers die the first time, one the later."""
    for seam in Seam:
        for nth in (1,) if seam in ONCE else TIMES[kind]:
            yield Point(seam, When.BEFORE, nth)
            if seam in REQUESTS:
                yield Point(seam, When.HELD, nth)
                if REQUESTS[seam] not in ONLY_LOOKS:
                    yield Point(seam, When.TAKEN, nth)
            yield Point(seam, When.AFTER, nth)
    for reply in REPLIES:
        yield from (Point(reply, when) for when in (When.HELD, When.TAKEN))
