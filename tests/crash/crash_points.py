"""Where processes are killed: at each fault point, at each moment of it, at the first and at a later hit."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from tests.crash.databases import Deployment
from tests.crash.fault_points import FaultPoint
from tests.crash.scenario import HALVES, KINDS, TWO_PROVIDER_KINDS
from tests.faulty_gateway import Route


class CrashMoment(StrEnum):
    """When the process is killed. Unanswered: the request is out and no answer came; it took effect or not."""

    BEFORE = "before"
    UNANSWERED = "unanswered, without effect"
    UNANSWERED_AFTER_EFFECT = "unanswered, with effect"
    AFTER = "after"


@dataclass(frozen=True)
class DiscordRequest:
    """A kind of request to Discord. text: what the message that it writes contains."""

    method: str
    path: str
    text: str = ""


POST, EDIT, HISTORY = (
    DiscordRequest("POST", "/channels/*/messages"),
    DiscordRequest("PATCH", "/channels/*/messages/*"),
    DiscordRequest("GET", "/channels/*/messages"),
)

REQUESTS: dict[FaultPoint, DiscordRequest | Route] = {
    FaultPoint.SUBMIT: Route.CREATE,
    FaultPoint.POLL: Route.POLL,
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

READ_ONLY = frozenset({Route.POLL, Route.RESULT, HISTORY})
"""Requests that change nothing: whether they took effect makes no difference."""

REPLIES = {
    "reply: deferred": DiscordRequest("POST", "/interactions/*/*/callback"),
    "reply: quoted": DiscordRequest("PATCH", "/webhooks/*/*/messages/@original", "One moment…"),
    "reply: ordered": DiscordRequest("PATCH", "/webhooks/*/*/messages/@original", "Got it!"),
}
"""Private replies to a member. The program has no fault point there; only the request itself can be delayed."""

ONCE_PER_PROCESS = frozenset({FaultPoint.RELEASE})

ONLY_IN_HALF = {
    FaultPoint.TO_CANCELLED: 0,
    FaultPoint.RECONCILE_FOUND: 0,
    FaultPoint.TO_QUEUED: 1,
    FaultPoint.RECONCILE_LOST: 1,
    FaultPoint.OPEN_GATE: 1,
}
"""Points that only one half of the kinds of orders is certain to hit."""

RARELY_HIT = frozenset(
    {
        *ONLY_IN_HALF,
        FaultPoint.CANCEL,
        FaultPoint.CLOSE_CARD,
        FaultPoint.DECIDE,
        FaultPoint.DOWNLOAD,
        FaultPoint.EDIT_STATUS,
        FaultPoint.POST_CARD,
        FaultPoint.POST_FAILURE,
        FaultPoint.POST_VIDEO,
        FaultPoint.RELEASE,
        FaultPoint.TO_DELIVERED,
        FaultPoint.TO_DELIVERING,
    }
)
"""Points that may be hit only once where each kind of a half comes once; the others are hit more often."""

HITS = {Deployment.SQLITE: (1, 2), Deployment.POSTGRESQL: (2,), Deployment.TWO_WORKERS: (1,)}


@dataclass(frozen=True)
class CrashPoint:
    """One kill. place: the fault point, or the reply that gets no answer. kinds: of the orders under way.

    providers: as the bot's setting names them. at_second: the second one gives no answer.
    """

    place: FaultPoint | str
    moment: CrashMoment
    hit: int = 1
    kinds: tuple[str, ...] = KINDS
    providers: str = "vtrix"
    at_second: bool = False

    def __str__(self) -> str:
        two = "" if self.providers == "vtrix" else f", {self.providers}{' (the second)' if self.at_second else ''}"
        return f"{self.place}, {self.moment}, #{self.hit}{two}"

    @property
    def request(self) -> DiscordRequest | Route | None:
        return REQUESTS.get(self.place) if isinstance(self.place, FaultPoint) else REPLIES[self.place]

    @property
    def waves(self) -> int:
        """How often each kind of order has to come for the point to be hit this often."""
        return self.hit if self.place in RARELY_HIT else 1


def crash_points(deployment: Deployment) -> Iterator[CrashPoint]:
    """All of them, at the first and a later hit: on PostgreSQL, the first with two workers, the later with one.

    Half of the kinds of orders are under way at each point: on SQLite the first half at the first hit, the second
    half at the later hit, on PostgreSQL the other way round.
    """
    for place in FaultPoint:
        for hit in (1,) if place in ONCE_PER_PROCESS else HITS[deployment]:
            half = ONLY_IN_HALF.get(place, (hit - 1 + (deployment is not Deployment.SQLITE)) % 2)
            yield from (CrashPoint(place, moment, hit, HALVES[half]) for moment in _moments(place))
    for reply in REPLIES:
        yield CrashPoint(reply, CrashMoment.UNANSWERED, 1, HALVES[0])
        yield CrashPoint(reply, CrashMoment.UNANSWERED_AFTER_EFFECT, 1, HALVES[1])


def _moments(place: FaultPoint) -> Iterator[CrashMoment]:
    yield CrashMoment.BEFORE
    if place in REQUESTS:
        yield CrashMoment.UNANSWERED
        if REQUESTS[place] not in READ_ONLY:
            yield CrashMoment.UNANSWERED_AFTER_EFFECT
    yield CrashMoment.AFTER


def crash_points_of_two_providers(deployment: Deployment) -> Iterator[CrashPoint]:
    """Kills from a claim to what was written of a create, where jobs change their provider meanwhile.

    On SQLite at the first hit. With two workers at a later one, where another order has another provider, and only
    after what the process did, which is when it matters that the other one doesn't do it again.
    """
    if deployment is Deployment.POSTGRESQL:
        return
    two = partial(CrashPoint, kinds=TWO_PROVIDER_KINDS, providers="vtrix,dashscope")
    if deployment is Deployment.TWO_WORKERS:
        for place in (FaultPoint.CLAIM_QUEUED, FaultPoint.SUBMIT, FaultPoint.TO_QUEUED):
            yield two(place, CrashMoment.AFTER, 2)
        yield two(FaultPoint.SUBMIT, CrashMoment.UNANSWERED, at_second=True)
        return
    for place in (FaultPoint.CLAIM_QUEUED, FaultPoint.SUBMIT, FaultPoint.TO_RUNNING, FaultPoint.TO_QUEUED):
        for moment in (CrashMoment.BEFORE, CrashMoment.AFTER):
            yield two(place, moment)
    for at_second in (False, True):
        yield two(FaultPoint.SUBMIT, CrashMoment.UNANSWERED_AFTER_EFFECT, at_second=at_second)
