"""The points at which a death of the process would hurt most, by name, so that tests can have it die right there.

A job's row is about to be written, or just was; a request is about to leave, or was just answered. Nothing here
does anything in production: no setting and no environment variable can arm a seam. Only a test that starts the
program itself can, by handing in a hook before it does.
"""

from collections.abc import Awaitable, Callable, Coroutine
from enum import StrEnum
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from bot.domain.jobs import JobState

P = ParamSpec("P")
T = TypeVar("T")


class Moment(StrEnum):
    """Before: nothing happened yet outside of this process. After: it did, and nobody here has acted on it."""

    BEFORE = "before"
    AFTER = "after"


class Seam(StrEnum):
    """Everything that a job leaves a mark with: what is written about it, what is asked of others for it."""

    # Transactions: before they are committed, after.
    ADD = "add"  # an order is accepted
    CLAIM_DUE = "claim due"
    CLAIM_QUEUED = "claim queued"  # the intent to pay
    RELEASE = "release"  # leases given back when the process stops
    NOT_YET = "not yet"  # a batch of looks that changed nothing
    TO_QUEUED = "to queued"  # surely not taken upstream
    TO_RUNNING = "to running"
    TO_DELIVERING = "to delivering"
    TO_DELIVERED = "to delivered"
    TO_FAILED = "to failed"
    TO_CANCELLED = "to cancelled"
    OPEN_GATE = "open gate"
    CANCEL = "cancel"  # by its member
    DECIDE = "decide"  # by a moderator
    FOUND = "found"  # by the operator: the task of a lost answer
    LOST = "lost"  # by the operator: there is none
    CLAIM_NOTICE = "claim notice"
    NOTICE_DONE = "notice done"
    NOTICE_LATER = "notice later"
    # Requests: before they leave, after they were answered.
    CREATE = "create"
    LOOK = "look"
    DOWNLOAD = "download"
    POST_STATUS = "post status"
    EDIT_STATUS = "edit status"
    POST_VIDEO = "post video"
    POST_NOTE = "post note"  # how a job ended, with a ping
    POST_CARD = "post card"  # the question to the moderators
    CLOSE_CARD = "close card"
    FIND = "find"  # the search in a channel's history before a second try
    POST_NOTICE = "post notice"
    FIND_NOTICE = "find notice"


MOVES = {
    JobState.QUEUED: Seam.TO_QUEUED,
    JobState.SUBMITTING: Seam.CLAIM_QUEUED,
    JobState.RUNNING: Seam.TO_RUNNING,
    JobState.DELIVERING: Seam.TO_DELIVERING,
    JobState.DELIVERED: Seam.TO_DELIVERED,
    JobState.FAILED: Seam.TO_FAILED,
    JobState.CANCELLED: Seam.TO_CANCELLED,
}
"""The seam of the transaction that moves a job to a state."""

Hook = Callable[[Seam, Moment], None]

_hook: Hook | None = None


def install(hook: Hook | None) -> None:
    """Has `hook` called at each seam from now on; None: nothing. For tests; this program never calls it."""
    global _hook  # noqa: PLW0603 - one process, one hook, set once before anything starts
    _hook = hook


def reached(seam: Seam | None, moment: Moment) -> None:
    """Says that the seam is reached; None: a point that has no name."""
    if _hook is not None and seam is not None:
        _hook(seam, moment)


def around(seam: Seam) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """Marks a coroutine function as one request: reached before it is called, and after it has gone well."""

    def mark(function: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        @wraps(function)
        async def marked(*args: P.args, **kwargs: P.kwargs) -> T:
            reached(seam, Moment.BEFORE)
            result = await function(*args, **kwargs)
            reached(seam, Moment.AFTER)
            return result

        return marked

    return mark
