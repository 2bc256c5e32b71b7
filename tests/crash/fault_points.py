"""The points at which a crash could do most damage: around each transaction and each request about a job.

Production code doesn't contain them. `watched` wraps methods of the store, the provider and the Discord side
in the process that calls it, and raises an error for a method that it can't wrap.
"""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from bot.chat.transport.delivery import Delivery, DiscordNotificationSender
from bot.chat.transport.status_messages import StatusMessages
from bot.chat.views.approval_cards import ApprovalCards
from bot.domain.jobs import Job, JobState
from bot.domain.outcomes import Outcome, Reschedule
from bot.providers.dashscope.client import DashScope
from bot.providers.vtrix.client import Vtrix
from bot.services.admin.jobs import JobService
from bot.services.operator.service import OperatorService
from bot.store.engine import Connection, Database
from bot.store.jobs import leasing, submissions, transitions
from bot.store.jobs.job_store import JobStore
from bot.store.outbox.notifications import NotificationStore


class FaultTiming(StrEnum):
    """Before: nothing has happened outside this process. After: it has, and nothing here has acted on it yet."""

    BEFORE = "before"
    AFTER = "after"


class FaultPoint(StrEnum):
    """Each transaction that writes a job, and each request that is sent for one."""

    # Transactions: before and after the commit.
    ACCEPT = "accept"  # an order becomes a job
    CLAIM_DUE = "claim due"
    CLAIM_QUEUED = "claim queued"  # stored before the paid request
    RELEASE = "release"  # leases given back when the process stops
    RESCHEDULE = "reschedule"  # a batch of polls that changed nothing
    TO_QUEUED = "to queued"  # certainly not accepted by the provider
    TO_RUNNING = "to running"
    TO_DELIVERING = "to delivering"
    TO_DELIVERED = "to delivered"
    TO_FAILED = "to failed"
    TO_CANCELLED = "to cancelled"
    OPEN_GATE = "open gate"
    CANCEL = "cancel"  # by its member
    DECIDE = "decide"  # by a moderator
    RECONCILE_FOUND = "reconcile found"  # the operator names the task whose id was lost
    RECONCILE_LOST = "reconcile lost"  # the operator says there is no task
    CLAIM_NOTIFICATION = "claim notification"
    NOTIFICATION_SENT = "notification sent"
    NOTIFICATION_DELAYED = "notification delayed"
    # Requests: before they leave and after they are answered.
    SUBMIT = "submit"
    POLL = "poll"
    DOWNLOAD = "download"
    POST_STATUS = "post status"
    EDIT_STATUS = "edit status"
    REMOVE_STATUS = "remove status"
    POST_VIDEO = "post video"
    POST_FAILURE = "post failure"  # how a job ended, with a ping
    POST_CARD = "post card"  # the question to the moderators
    CLOSE_CARD = "close card"
    FIND_MESSAGE = "find message"  # the search in a channel's history before a second try
    POST_NOTIFICATION = "post notification"
    FIND_NOTIFICATION = "find notification"


TRANSITIONS = {
    JobState.QUEUED: FaultPoint.TO_QUEUED,
    JobState.SUBMITTING: FaultPoint.CLAIM_QUEUED,
    JobState.RUNNING: FaultPoint.TO_RUNNING,
    JobState.DELIVERING: FaultPoint.TO_DELIVERING,
    JobState.DELIVERED: FaultPoint.TO_DELIVERED,
    JobState.FAILED: FaultPoint.TO_FAILED,
    JobState.CANCELLED: FaultPoint.TO_CANCELLED,
}
"""The point at the transaction that moves a job to a state."""

Hook = Callable[[FaultPoint, FaultTiming], None]


class Function(Protocol):
    """A coroutine function that can be found again by its name."""

    __name__: str

    def __call__(self, *args: Any, **kwargs: Any) -> Awaitable[Any]: ...


@dataclass(frozen=True)
class Target:
    """What is wrapped for a point: `function`, as the class or module `owner` holds it."""

    point: FaultPoint
    owner: object
    function: Function


OPERATIONS = (
    Target(FaultPoint.ACCEPT, JobStore, JobStore.add_together),
    Target(FaultPoint.RELEASE, JobStore, JobStore.release),
    Target(FaultPoint.RESCHEDULE, JobStore, JobStore.reschedule),
    Target(FaultPoint.OPEN_GATE, JobStore, JobStore.open_gate),
    Target(FaultPoint.CANCEL, JobStore, JobStore.cancel),
    Target(FaultPoint.DECIDE, JobService, JobService.decide),
    Target(FaultPoint.RECONCILE_FOUND, OperatorService, OperatorService.task_found),
    Target(FaultPoint.RECONCILE_LOST, OperatorService, OperatorService.task_lost),
    Target(FaultPoint.CLAIM_NOTIFICATION, NotificationStore, NotificationStore.claim),
    Target(FaultPoint.NOTIFICATION_SENT, NotificationStore, NotificationStore.done),
    Target(FaultPoint.NOTIFICATION_DELAYED, NotificationStore, NotificationStore.reschedule),
)
"""Each calls `Database.write` for one transaction, which it names."""

CLAIMS = (
    Target(FaultPoint.CLAIM_DUE, leasing, leasing.claim_due),
    Target(FaultPoint.CLAIM_QUEUED, submissions, submissions.claim_queued),
)
"""Called inside a transaction, which counts only if they found something."""

REQUESTS = (
    Target(FaultPoint.SUBMIT, Vtrix, Vtrix.submit),
    Target(FaultPoint.POLL, Vtrix, Vtrix.status),
    Target(FaultPoint.DOWNLOAD, Vtrix, Vtrix.download),
    Target(FaultPoint.SUBMIT, DashScope, DashScope.submit),
    Target(FaultPoint.POLL, DashScope, DashScope.status),
    Target(FaultPoint.DOWNLOAD, DashScope, DashScope.download),
    Target(FaultPoint.POST_STATUS, StatusMessages, StatusMessages._send),
    Target(FaultPoint.EDIT_STATUS, StatusMessages, StatusMessages.edit),
    Target(FaultPoint.REMOVE_STATUS, StatusMessages, StatusMessages.remove),
    Target(FaultPoint.POST_VIDEO, Delivery, Delivery.post_video),
    Target(FaultPoint.POST_FAILURE, Delivery, Delivery.notify_failure),
    Target(FaultPoint.FIND_MESSAGE, Delivery, Delivery._find),
    Target(FaultPoint.FIND_MESSAGE, StatusMessages, StatusMessages._find),
    Target(FaultPoint.POST_CARD, ApprovalCards, ApprovalCards.post),
    Target(FaultPoint.CLOSE_CARD, ApprovalCards, ApprovalCards.close),
    Target(FaultPoint.POST_NOTIFICATION, DiscordNotificationSender, DiscordNotificationSender.send),
    Target(FaultPoint.FIND_NOTIFICATION, DiscordNotificationSender, DiscordNotificationSender.already_sent),
)

_operation: ContextVar[FaultPoint | None] = ContextVar("operation", default=None)


@contextmanager
def watched(hook: Hook) -> Iterator[None]:
    """Calls `hook` at each point while the block runs. Raises AttributeError where there is nothing to wrap."""
    with ExitStack() as undo:
        for target in REQUESTS:
            undo.enter_context(replaced(target.owner, target.function, _request(target, hook)))
        for target in OPERATIONS:
            undo.enter_context(replaced(target.owner, target.function, _operation_of(target)))
        for target in CLAIMS:
            undo.enter_context(replaced(target.owner, target.function, _claim(target)))
        undo.enter_context(replaced(JobStore, JobStore.apply, _transition(JobStore.apply)))
        undo.enter_context(replaced(Database, Database.write, _transaction(Database.write, hook)))
        yield


@contextmanager
def replaced(owner: object, function: Callable[..., Any], replacement: Callable[..., Any]) -> Iterator[None]:
    """Replaces `function` by `replacement` while the block runs."""
    name = function.__name__
    if vars(owner).get(name) is not function:
        raise AttributeError(f"{owner} has no {name} of its own to wrap")
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, function)


def _request(target: Target, hook: Hook) -> Function:
    @functools.wraps(target.function)
    async def request(*args: Any, **kwargs: Any) -> Any:
        hook(target.point, FaultTiming.BEFORE)
        answer = await target.function(*args, **kwargs)
        hook(target.point, FaultTiming.AFTER)
        return answer

    return request


def _operation_of(target: Target) -> Function:
    @functools.wraps(target.function)
    async def operation(*args: Any, **kwargs: Any) -> Any:
        with _named(target.point):
            return await target.function(*args, **kwargs)

    return operation


def _claim(target: Target) -> Function:
    @functools.wraps(target.function)
    async def claim(*args: Any, **kwargs: Any) -> Any:
        found = await target.function(*args, **kwargs)
        if found:
            _operation.set(target.point)  # until the end of the transaction around it
        return found

    return claim


def _transition(apply: Callable[[JobStore, Job, Outcome, Any], Awaitable[bool]]) -> Function:
    @functools.wraps(apply)
    async def transition(store: JobStore, job: Job, outcome: Outcome, now: Any) -> bool:
        if isinstance(outcome, Reschedule):  # handed on to `reschedule`
            return await apply(store, job, outcome, now)
        with _named(TRANSITIONS[transitions.target_state(outcome)]):
            return await apply(store, job, outcome, now)

    return transition


def _transaction(
    write: Callable[[Database], AbstractAsyncContextManager[Connection]], hook: Hook
) -> Callable[[Database], AbstractAsyncContextManager[Connection]]:
    @asynccontextmanager
    async def transaction(database: Database) -> AsyncIterator[Connection]:
        point: FaultPoint | None = None
        with _named(_operation.get()):
            async with write(database) as connection:
                yield connection
                point = _operation.get()
                if point is not None:
                    hook(point, FaultTiming.BEFORE)
            if point is not None:
                hook(point, FaultTiming.AFTER)

    return transaction


@contextmanager
def _named(point: FaultPoint | None) -> Iterator[None]:
    """The transactions inside are those of `point`."""
    before = _operation.get()
    _operation.set(point)
    try:
        yield
    finally:
        _operation.set(before)
