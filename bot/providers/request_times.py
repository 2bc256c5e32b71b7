"""Reports to an observer how long a gateway's requests take, and how they end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bot.domain.errors import (
    ContentRefused,
    LeaseOver,
    OutcomeUnknown,
    ResultIncomplete,
    ResultRefused,
    ResultUnusable,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamError,
    UpstreamIll,
    UpstreamRefused,
    UpstreamUnreached,
)

ObserveRequest = Callable[[str, str, float], None]
"""Takes the operation (create, poll, stop or download), its outcome and its duration in seconds."""

OUTCOMES: dict[type[UpstreamError], str] = {
    UpstreamRefused: "refused",
    ContentRefused: "refused",
    UpstreamClosed: "closed",
    UpstreamBusy: "busy",
    UpstreamUnreached: "unreached",
    UpstreamIll: "ill",
    OutcomeUnknown: "unknown",
    LeaseOver: "not sent",
    ResultRefused: "refused",
    ResultIncomplete: "incomplete",
    ResultUnusable: "unusable",
}
"""The outcome of a request that raised this error."""

OK, BROKEN_OFF = "ok", "broken off"


def ignore_request(operation: str, outcome: str, duration_s: float) -> None:
    """An `ObserveRequest` that reports nothing."""


def operation_of(method: str, *, is_create: bool) -> str:
    """What a request is for. is_create: whether it has a body."""
    if is_create:
        return "create"
    return "poll" if method == "GET" else "stop"


@contextmanager
def timed(observe: ObserveRequest, operation: str) -> Iterator[None]:
    """Reports the request that is made inside."""
    began_s, outcome = time.perf_counter(), BROKEN_OFF
    try:
        yield
        outcome = OK
    except UpstreamError as error:
        outcome = OUTCOMES.get(type(error), BROKEN_OFF)
        raise
    finally:
        observe(operation, outcome, time.perf_counter() - began_s)
