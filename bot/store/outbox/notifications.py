"""What is to be told in log channels: written in the transaction of what happened, sent later by the crier.

A server that has set no log channel is told nothing, and nothing is written for it. `post` and `job_failed` work
inside the caller's transaction; `NotificationStore` is what the crier works with, each of its methods a
transaction.

Notices of one address (a server, and the channel where one was named) are told in their order, and those that are
due together become one message. Such a batch, once made, stays together until it is told: the token of its first
claim is its name, and the message's nonce. So a crier that died after sending sends just the same again.
"""

import itertools
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.chat.messages.markdown import escaped, mention, room
from bot.domain.jobs import FailureReason, Job
from bot.seams import Seam
from bot.store.engine import Database
from bot.store.guilds.guild_settings import insert_of
from bot.store.schema import guilds, notices

TO_OPERATOR = 0
"""Stands as the server's id in what is told to the operator."""

MESSAGE_MAX = 2000
"""Characters in a message (Discord's documentation of Create Message)."""

KEPT = timedelta(days=1)
"""How long a told notice is kept, so that its key is told once."""

_LONGEST_WAIT = timedelta(minutes=15)
"""More than any pause or lease of a notice."""

_PROMPT_SHOWN = 200
_DETAIL_SHOWN = 600
_BATCH_MAX = 100
_counter = itertools.count()


@dataclass(frozen=True, slots=True)
class Batch:
    """Notices that make one message. channel_id: where it goes; None where no channel is set (any more).

    token: the batch's name. created_at: of the oldest notice in it. attempts: how often in a row sending it
    failed. tried_before: whether an earlier claim may have sent it. lease_until: the proof of this claim.
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
    connection: AsyncConnection,
    guild_id: int,
    text: str,
    now: datetime,
    *,
    channel_id: int | None = None,
    key: str | None = None,
) -> None:
    """Has `text` told in the server's log channel, or in `channel_id`.

    text: Discord markdown, foreign text in it escaped already. key: what has the same one is told once.
    """
    if channel_id is None and guild_id != TO_OPERATOR and not await _has_log_channel(connection, guild_id):
        return
    row = {
        "id": _new_id(now),
        "guild_id": guild_id,
        "channel_id": channel_id,
        "key": key,
        "text": _fitting(text),
        "created_at": now,
        "due_at": now,
        "attempts": 0,
    }
    await connection.execute(insert_of(connection, notices).values(row).on_conflict_do_nothing())


async def job_failed(connection: AsyncConnection, job: Job, now: datetime) -> None:
    """Has a failure told in the server's log channel; to the operator too, where a paid task may be lost.

    job: as it stands after the failure. A declined job is none: that is told as what a moderator did.
    """
    if job.failure is None or job.failure is FailureReason.DECLINED:
        return
    reason = job.failure.replace("_", " ")
    known = job.failure_detail
    detail = "" if known is None else escaped(known.quote or known.cause.replace("_", " "), _DETAIL_SHOWN)
    prompt = escaped(job.order.prompt, _PROMPT_SHOWN)
    text = f"❌ A video of {mention(job.user_id)} failed (**{reason}**): {detail}\n> {prompt}"
    await post(connection, job.guild_id, text, now)
    if job.failure is FailureReason.TIMED_OUT:
        told = (
            f"⏱️ Job `{job.id}` of server `{job.guild_id}` took too long and was given back. Its task "
            f"`{escaped(job.upstream_id or '?', _DETAIL_SHOWN)}` may still end, and cost. {detail}"
        )
        await post(connection, TO_OPERATOR, told, now)
    if job.failure is FailureReason.OUTCOME_UNKNOWN:
        asked = int(job.created_at.timestamp())
        told = (
            f"🔎 Job `{job.id}` of server `{job.guild_id}` needs reconciling: a paid task may exist. "
            f"Asked for <t:{asked}:f>, lost <t:{int(now.timestamp())}:f>. {detail}"
        )
        await post(connection, TO_OPERATOR, told, now)


class NotificationStore:
    """The notices that wait to be told. Every method raises StoreError where the database fails."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def claim(self, now: datetime, limit: int, lease: timedelta) -> list[Batch]:
        """What is due, at most one batch an address, the longest waiting first.

        Behind a batch that somebody holds, or that has to wait, its address waits too: so the order is kept.
        """
        async with self._db.read() as connection:
            if (await connection.execute(_heads(now, 1))).one_or_none() is None:
                return []
        async with self._db.write(Seam.CLAIM_NOTICE) as connection:
            # Whoever holds the oldest row of an address has the address; another claimer steps over it.
            heads = (await connection.execute(_heads(now, limit).with_for_update(skip_locked=True))).all()
            return [await _batch_of(connection, head, now + lease) for head in heads]

    async def done(self, batch: Batch) -> None:
        """The batch was told, or never can be. What has a key stays for a while, without its text."""
        async with self._db.write(Seam.NOTICE_DONE) as connection:
            await connection.execute(delete(notices).where(_held(batch), notices.c.key.is_(None)))
            told = {"due_at": None, "text": "", "lease_token": None, "lease_until": None}
            await connection.execute(update(notices).where(_held(batch)).values(told))

    async def later(self, batch: Batch, due_at: datetime) -> None:
        """Sending the batch failed; it is due again at `due_at`."""
        async with self._db.write(Seam.NOTICE_LATER) as connection:
            failed = {"due_at": due_at, "attempts": batch.attempts + 1, "lease_until": None}
            await connection.execute(update(notices).where(_held(batch)).values(failed))

    async def purge(self, now: datetime) -> None:
        """Takes away what was told and is over a day old."""
        async with self._db.write() as connection:
            old = notices.c.created_at <= now - KEPT
            await connection.execute(delete(notices).where(notices.c.due_at.is_(None), old))


def _heads(now: datetime, limit: int) -> Select[Any]:
    """The oldest row of each address, where it is due and nobody holds it."""
    waits = notices.c.due_at.is_not(None)
    first = select(func.min(notices.c.id)).where(waits).group_by(notices.c.guild_id, notices.c.channel_id)
    # Nothing here ever waits an hour: such a moment was written before the clock was set back.
    impossible = now + _LONGEST_WAIT
    free = or_(notices.c.lease_until.is_(None), notices.c.lease_until <= now, notices.c.lease_until > impossible)
    due = or_(notices.c.due_at <= now, notices.c.due_at > impossible)
    return select(notices).where(notices.c.id.in_(first), due, free).order_by(notices.c.id).limit(limit)


async def _batch_of(connection: AsyncConnection, head: Row[Any], lease_until: datetime) -> Batch:
    if head.lease_token is None:
        token, rows = secrets.token_urlsafe(12), await _fresh_rows(connection, head)
    else:
        token = head.lease_token
        query = select(notices).where(notices.c.lease_token == token, notices.c.due_at.is_not(None))
        rows = list((await connection.execute(query.order_by(notices.c.id))).all())
    held = {"lease_token": token, "lease_until": lease_until}
    await connection.execute(update(notices).where(notices.c.id.in_([row.id for row in rows])).values(held))
    channel_id = head.channel_id
    if channel_id is None:
        query = select(guilds.c.log_channel_id).where(guilds.c.id == head.guild_id)
        channel_id = (await connection.execute(query)).scalar_one_or_none()
    return Batch(
        token=token,
        guild_id=head.guild_id,
        channel_id=channel_id,
        text="\n".join(row.text for row in rows),
        created_at=head.created_at,
        attempts=head.attempts,
        tried_before=head.lease_token is not None,
        lease_until=lease_until,
    )


async def _fresh_rows(connection: AsyncConnection, head: Row[Any]) -> list[Row[Any]]:
    """The head and what follows it at its address, as much as goes into one message."""
    address = and_(
        notices.c.guild_id == head.guild_id,
        notices.c.channel_id.is_not_distinct_from(head.channel_id),
        notices.c.lease_token.is_(None),
        notices.c.due_at.is_not(None),
        notices.c.id > head.id,
    )
    query = select(notices).where(address).order_by(notices.c.id).limit(_BATCH_MAX)
    rows, taken = [head], room(head.text)
    for row in await connection.execute(query.with_for_update(skip_locked=True)):
        taken += 1 + room(row.text)
        if taken > MESSAGE_MAX:
            break
        rows.append(row)
    return rows


def _held(batch: Batch) -> ColumnElement[bool]:
    """Its rows, where this very claim still holds them: the token alone outlives a claim."""
    return and_(
        notices.c.lease_token == batch.token,
        notices.c.lease_until == batch.lease_until,
        notices.c.due_at.is_not(None),
    )


async def _has_log_channel(connection: AsyncConnection, guild_id: int) -> bool:
    query = select(guilds.c.log_channel_id).where(guilds.c.id == guild_id)
    return (await connection.execute(query)).scalar_one_or_none() is not None


def _new_id(now: datetime) -> str:
    """An id that sorts as it was written: time, then order within this process, then chance."""
    return f"{round(now.timestamp() * 1_000_000):014x}{next(_counter) % 0x10000:04x}{secrets.token_hex(3)}"


def _fitting(text: str) -> str:
    """The text, cut where no message would take it; never in the middle of an escape."""
    if room(text) <= MESSAGE_MAX:
        return text
    cut = text[: MESSAGE_MAX - 1]
    while room(cut) >= MESSAGE_MAX:
        cut = cut[:-1]
    return f"{cut.rstrip(chr(92))}…"
