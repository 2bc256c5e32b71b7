"""Notifications for log channels: written in the transaction of what they report, sent later by the notifier.

A server without a log channel gets none, and none are written for it. `post` and `job_failed` run in the caller's
transaction; each method of `NotificationStore`, which the notifier uses, is a transaction of its own.

Notifications for one channel are posted in order, and those due together become one message. They are rendered
when they are claimed. From then on the batch keeps its text and stays together until it is posted: its first
claim's token identifies it and is the message's nonce. So a notifier that died after sending sends exactly the
same again, even after an update that words things differently.
"""

import itertools
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, delete, func, or_, select, update

from bot.domain.jobs import FailureReason, Job
from bot.domain.notifications import (
    JobFailed,
    Notification,
    StoredNotification,
    TaskTimedOut,
    TaskUnresolved,
    stored,
)
from bot.store.engine import Connection, Database
from bot.store.schema import guilds, notifications
from bot.store.upserts import insert_of

TO_OPERATOR = 0
"""The server id of notifications for the operator."""

KEPT = timedelta(days=1)
"""How long a posted notification is kept, so that its key is posted only once."""

Render = Callable[[Sequence[StoredNotification]], list[str]]
"""Renders as many of the first ones as fit in a message, at least one. Never raises."""

_LONGEST_WAIT = timedelta(minutes=15)
"""Longer than any backoff or lease of a notification."""

_BATCH_MAX = 100
_counter = itertools.count()


@dataclass(frozen=True, slots=True)
class Batch:
    """Notifications that are sent as one message. channel_id: None if no channel is set any more.

    token: identifies the batch. created_at: of the oldest notification. attempts: how often in a row sending
    failed. tried_before: whether an earlier claim may have sent it. lease_until: identifies this claim.
    """

    token: str
    guild_id: int
    channel_id: int | None
    text: str
    created_at: datetime
    attempts: int
    tried_before: bool
    lease_until: datetime


async def post(
    connection: Connection,
    guild_id: int,
    notification: Notification,
    now: datetime,
    *,
    channel_id: int | None = None,
    key: str | None = None,
) -> None:
    """Queues it for the server's log channel, or for `channel_id`. key: one key is posted only once."""
    has_channel = channel_id is not None or guild_id == TO_OPERATOR
    if not has_channel and await log_channel_id(connection, guild_id) is None:
        return
    saved = stored(notification)
    row = {
        "id": _new_id(now),
        "guild_id": guild_id,
        "channel_id": channel_id,
        "key": key,
        "kind": saved.kind,
        "payload": saved.payload,
        "created_at": now,
        "due_at": now,
        "attempts": 0,
    }
    await connection.execute(insert_of(connection, notifications).values(row).on_conflict_do_nothing())


async def post_to_operator(
    connection: Connection, notification: Notification, now: datetime, *, key: str | None = None
) -> None:
    """Queues it for the operator. key: one key is posted only once."""
    await post(connection, TO_OPERATOR, notification, now, key=key)


async def job_failed(connection: Connection, job: Job, now: datetime) -> None:
    """Queues a failure for the server's log channel, and for the operator if a paid task may be lost.

    job: as it is after the failure. A declined job is skipped: it is logged as a moderator's action.
    """
    if job.failure_reason is None or job.failure_reason is FailureReason.DECLINED:
        return
    failed = JobFailed(job.user_id, job.failure_reason, job.failure_detail, job.order.prompt)
    await post(connection, job.guild_id, failed, now)
    if job.failure_reason is FailureReason.TIMED_OUT:
        late = TaskTimedOut(job.id, job.guild_id, job.upstream_id, job.failure_detail)
        await post_to_operator(connection, late, now)
    if job.failure_reason is FailureReason.OUTCOME_UNKNOWN:
        asked_at, lost_at = int(job.created_at.timestamp()), int(now.timestamp())
        lost = TaskUnresolved(job.id, job.guild_id, asked_at, lost_at, job.failure_detail, job.provider)
        await post_to_operator(connection, lost, now)


async def log_channel_id(connection: Connection, guild_id: int) -> int | None:
    """The server's log channel, if it has one."""
    return await connection.scalar(select(guilds.c.log_channel_id).where(guilds.c.id == guild_id))


class NotificationStore:
    """The notifications to be posted. Every method raises StoreError if the database fails."""

    def __init__(self, db: Database, render: Render) -> None:
        self._db = db
        self._render = render

    async def claim(self, now: datetime, limit: int, lease: timedelta) -> list[Batch]:
        """Claims what is due, at most one batch per channel, the oldest first.

        A channel whose first batch is claimed or has to wait gets nothing else, so that the order is kept.
        """
        async with self._db.read() as connection:
            lease_now = await self._db.lease_time(connection, now)
            if (await connection.execute(_heads(now, lease_now, 1))).one_or_none() is None:
                return []
        async with self._db.write() as connection:
            # Locking a channel's oldest row claims the channel; other claimers skip it.
            lease_now = await self._db.lease_time(connection, now)
            query = _heads(now, lease_now, limit).with_for_update(skip_locked=True)
            heads = (await connection.execute(query)).all()
            return [await self._batch_of(connection, head, lease_now + lease) for head in heads]

    async def _batch_of(self, connection: Connection, head: Row[Any], lease_until: datetime) -> Batch:
        token = head.lease_token or secrets.token_urlsafe(12)
        rows = await _rows_of(connection, head)
        texts = self._render([StoredNotification(row.kind, row.payload, row.text) for row in rows])
        columns: dict[str, Any] = {"lease_token": token, "lease_until": lease_until, "text": bindparam("row_text")}
        await connection.execute(
            update(notifications).where(notifications.c.id == bindparam("row_id")).values(columns),
            [{"row_id": row.id, "row_text": text} for row, text in zip(rows, texts, strict=False)],
        )
        channel_id = head.channel_id
        if channel_id is None:
            channel_id = await log_channel_id(connection, head.guild_id)
        return Batch(
            token=token,
            guild_id=head.guild_id,
            channel_id=channel_id,
            text="\n".join(texts),
            created_at=head.created_at,
            attempts=head.attempts,
            tried_before=head.lease_token is not None,
            lease_until=lease_until,
        )

    async def done(self, batch: Batch) -> None:
        """Ends a batch that was posted or never can be.

        A notification with a key is kept for a while, without its content.
        """
        async with self._db.write() as connection:
            await connection.execute(delete(notifications).where(_claimed(batch), notifications.c.key.is_(None)))
            posted = {"due_at": None, "payload": None, "text": None, "lease_token": None, "lease_until": None}
            await connection.execute(update(notifications).where(_claimed(batch)).values(posted))

    async def reschedule(self, batch: Batch, due_at: datetime) -> None:
        """Makes a batch that couldn't be sent due again at `due_at`."""
        async with self._db.write() as connection:
            failed = {"due_at": due_at, "attempts": batch.attempts + 1, "lease_until": None}
            await connection.execute(update(notifications).where(_claimed(batch)).values(failed))

    async def purge(self, now: datetime) -> None:
        """Deletes posted notifications that are over a day old."""
        async with self._db.write() as connection:
            old = notifications.c.created_at <= now - KEPT
            await connection.execute(delete(notifications).where(notifications.c.due_at.is_(None), old))


def _heads(now: datetime, lease_now: datetime, limit: int) -> Select[Any]:
    """The oldest row of each channel, if it is due and not claimed.

    lease_now: the time that judges leases, see `Database.lease_time`.
    """
    waits = notifications.c.due_at.is_not(None)
    first = (
        select(func.min(notifications.c.id))
        .where(waits)
        .group_by(notifications.c.guild_id, notifications.c.channel_id)
    )
    # Nothing waits longer than `_LONGEST_WAIT`: such a time was written before the clock was set back.
    free = or_(
        notifications.c.lease_until.is_(None),
        notifications.c.lease_until <= lease_now,
        notifications.c.lease_until > lease_now + _LONGEST_WAIT,
    )
    due = or_(notifications.c.due_at <= now, notifications.c.due_at > now + _LONGEST_WAIT)
    return (
        select(notifications)
        .where(notifications.c.id.in_(first), due, free)
        .order_by(notifications.c.id)
        .limit(limit)
    )


async def _rows_of(connection: Connection, head: Row[Any]) -> list[Row[Any]]:
    """The rows of the head's batch; if it has none yet, the head and the next rows of its channel."""
    if head.lease_token is not None:
        query = select(notifications).where(
            notifications.c.lease_token == head.lease_token, notifications.c.due_at.is_not(None)
        )
        return list(await connection.execute(query.order_by(notifications.c.id)))
    address = and_(
        notifications.c.guild_id == head.guild_id,
        notifications.c.channel_id.is_not_distinct_from(head.channel_id),
        notifications.c.lease_token.is_(None),
        notifications.c.due_at.is_not(None),
        notifications.c.id > head.id,
    )
    query = select(notifications).where(address).order_by(notifications.c.id).limit(_BATCH_MAX)
    return [head, *await connection.execute(query.with_for_update(skip_locked=True))]


def _claimed(batch: Batch) -> ColumnElement[bool]:
    """The batch's rows, if this claim still holds them. The token doesn't tell: later claims keep it."""
    return and_(
        notifications.c.lease_token == batch.token,
        notifications.c.lease_until == batch.lease_until,
        notifications.c.due_at.is_not(None),
    )


def _new_id(now: datetime) -> str:
    """An id that sorts by creation: time, then order within this process, then random."""
    return f"{round(now.timestamp() * 1_000_000):014x}{next(_counter) % 0x10000:04x}{secrets.token_hex(3)}"
