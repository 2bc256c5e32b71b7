"""Counts what the video service's moderation refuses like a blocked prompt, where a server wants that."""

from dataclasses import replace
from datetime import datetime

from bot.domain.jobs import FailureDetail, FailureReason, Job
from bot.domain.outcomes import Fail
from bot.store.engine import Connection
from bot.store.guilds import guild_settings, violations
from bot.store.jobs import variations


async def count(connection: Connection, job: Job, failure: Fail, now: datetime) -> Fail:
    """Counts a failure for its content, if the server wants that; returns the failure with what follows from it.

    Each order counts once: variations have one prompt and picture. A job that was resumed is uncharged, and not
    counted. The caller has locked the job's row, and writes the failure in the same transaction.
    """
    if failure.reason is not FailureReason.REJECTED or not job.charged:
        return failure
    guild = await guild_settings.get(connection, job.guild_id)
    if not guild.settings.refused_content_counts:
        return failure
    await guild_settings.lock_operator_state(connection)  # of variations that fail together, one is the first
    counted = await _counted_with(connection, job)
    if counted is not None:
        left, until = counted.violations_left, counted.paused_until
        return replace(failure, detail=replace(failure.detail, violations_left=left, paused_until=until))
    ban = await violations.add(connection, guild, job.user_id, now, prompt=job.order.prompt)
    if ban is None:
        left = await violations.remaining(connection, guild, job.user_id, now)
        return replace(failure, detail=replace(failure.detail, violations_left=left))
    until = None if ban.expires_at is None else int(ban.expires_at.timestamp())
    return replace(failure, detail=replace(failure.detail, paused_until=until))


async def _counted_with(connection: Connection, job: Job) -> FailureDetail | None:
    """How another variation of the same order failed for its content, if one did."""
    for other in await variations.ordered_with(connection, job.id):
        if other.id != job.id and other.failure_reason is FailureReason.REJECTED:
            return other.failure_detail
    return None
