"""Writes accepted orders: their jobs, pictures and reservations, inside the caller's transaction."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert

from bot.domain.errors import StoreError
from bot.domain.extensions import Extension
from bot.domain.guilds import OperatorDefaults
from bot.domain.jobs import Frame, Job, NewJob
from bot.domain.ledger import Amounts, EntryKind
from bot.domain.repeats import KeptFrame
from bot.operations.held_lease import is_overtaken
from bot.store.engine import Connection
from bot.store.jobs import budget_alerts, extensions, pictures, variations
from bot.store.jobs.admission import Admitted
from bot.store.jobs.rows import read_job, state_columns
from bot.store.money import ledger
from bot.store.schema import jobs


async def write(
    connection: Connection,
    news: Sequence[NewJob],
    frame: Frame | KeptFrame,
    admitted: Admitted,
    rules: OperatorDefaults,
    now: datetime,
    extends: Extension | None,
) -> list[Job]:
    """Adds the jobs of an admitted order, which are variations of each other.

    extends: what they go on from. Raises: see `pictures.add`; StoreError if nobody expects them any more.
    """
    added = []
    for number, (new, grant_id) in enumerate(zip(news, admitted.grant_ids, strict=True)):
        # A moment later each, so that they take their turns in order.
        row = _new_row(new, admitted, grant_id, now + timedelta(microseconds=number))
        await connection.execute(insert(jobs).values(row))
        await pictures.add(connection, new.id, frame, keep=rules.keeps_pictures)
        if extends is not None:
            await extensions.add(connection, new.id, extends)
        job = await read_job(connection, new.id)
        reserved = Amounts(1, 0 if grant_id is None else -1, admitted.estimate)
        entry = ledger.job_entry(job, EntryKind.RESERVE, reserved, "accepted", now, new.user_id)
        await ledger.write_of_job(connection, job, entry)
        await budget_alerts.after_acceptance(connection, rules, admitted.estimate, now)
        added.append(job)
    if len(news) > 1:
        await variations.record(connection, [new.id for new in news])
    if is_overtaken():  # at the end: a process that is stopped from here on loses the transaction
        raise StoreError("The order took too long: whoever placed it may have done so again.")
    return added


def _new_row(new: NewJob, admitted: Admitted, grant_id: int | None, now: datetime) -> dict[str, Any]:
    """The columns of a newly accepted job: due at once, and charged to its member."""
    return {
        **state_columns(admitted.state, now),
        "id": new.id,
        "guild_id": new.guild_id,
        "channel_id": new.channel_id,
        "user_id": new.user_id,
        **asdict(new.order),
        "created_at": now,
        "charged": True,
        "cancel_requested": False,
        "estimated_cost_usd": admitted.estimate,
        "credit_grant_id": grant_id,
        "picture_name": new.picture.name,
        "picture_alt_text": new.picture.alt_text,
    }
