"""What the status cards of jobs in progress say, and what it depends on, for every worker on the database."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from bot.domain.jobs import ENDED, Job, JobState, Resolution
from bot.domain.status_cards import ShownCard, StatusCard
from bot.domain.waiting import InProgress, Wait
from bot.store.engine import Connection, Database
from bot.store.jobs import submission_gate
from bot.store.jobs.rows import fetch_job, job_of, select_jobs
from bot.store.jobs.submission_gate import Gate
from bot.store.schema import IS_ACTIVE, first_frames, jobs, status_cards

_CARD_STATES = (JobState.QUEUED, JobState.SUBMITTING, JobState.RUNNING, JobState.DELIVERING)
"""States in which a card changes by itself. One that awaits a moderator stays as it is."""

_JOB_COLUMNS = ("id", "state", "user_id", "resolution", "created_at", "submitted_at")
_WAIT_COLUMNS = [field.name for field in fields(Wait)]
_FLAGS = ("service_closed", "is_cancelled", "has_thumbnail")


@dataclass(frozen=True, slots=True)
class JobsInProgress:
    """All jobs in progress. cancelled: the ids of those that their members cancelled. shown: the cards, by id."""

    jobs: list[InProgress]
    cancelled: frozenset[str]
    shown: Mapping[str, ShownCard]
    gate: Gate


class StatusCardStore:
    """The cards in a database. Every method raises StoreError where the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def in_progress(self) -> JobsInProgress:
        """What all cards depend on."""
        columns = (jobs.c[name] for name in (*_JOB_COLUMNS, "channel_id", "cancel_requested"))
        query = (
            select(*columns, *status_cards.c)
            .outerjoin(status_cards, status_cards.c.job_id == jobs.c.id)
            .where(IS_ACTIVE, jobs.c.state.in_(_CARD_STATES))
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
            gate = await submission_gate.get_gate(connection, lock=False)
        return JobsInProgress(
            [_in_progress(row) for row in rows],
            frozenset(row.id for row in rows if row.cancel_requested),
            {row.id: ShownCard(row.id, row.channel_id, _card(row), row.edited_at) for row in rows if row.job_id},
            gate,
        )

    async def jobs(self, ids: Iterable[str]) -> list[Job]:
        """The jobs with these ids, as they are now."""
        async with self._database.read() as connection:
            rows = await connection.execute(select_jobs().where(jobs.c.id.in_(list(ids))))
            return [job_of(row) for row in rows]

    async def thumbnail(self, job_id: str) -> bytes | None:
        """The job's picture as a small JPEG; None if there is none, or no more."""
        query = select(first_frames.c.thumbnail).where(first_frames.c.job_id == job_id)
        async with self._database.read() as connection:
            thumbnail: bytes | None = await connection.scalar(query)
        return thumbnail

    async def show(self, job_id: str, card: StatusCard, now: datetime) -> None:
        """Records the card of a message that was just posted or edited, if the job is in progress."""
        async with self._database.write() as connection:
            job = await fetch_job(connection, jobs.c.id == job_id, lock=True)
            if job is not None and job.state not in ENDED:
                await connection.execute(delete(status_cards).where(status_cards.c.job_id == job_id))
                await connection.execute(insert(status_cards).values(_columns(card, now) | {"job_id": job_id}))

    async def claim(self, shown: ShownCard, card: StatusCard, now: datetime) -> bool:
        """Records that the shown card is about to be edited to this one; False if another worker was quicker."""
        is_same = (status_cards.c.job_id == shown.job_id) & (status_cards.c.edited_at == shown.edited_at)
        async with self._database.write() as connection:
            changed = await connection.execute(update(status_cards).where(is_same).values(_columns(card, now)))
            return changed.rowcount == 1


async def forget(connection: Connection, job_id: str) -> None:
    """Deletes the card of a job that ended, inside the caller's transaction."""
    await connection.execute(delete(status_cards).where(status_cards.c.job_id == job_id))


def _in_progress(row: Row[Any]) -> InProgress:
    resolution, state = Resolution(row.resolution), JobState(row.state)
    return InProgress(row.id, state, row.user_id, resolution, row.created_at, row.submitted_at)


def _card(row: Row[Any]) -> StatusCard:
    wait = Wait(**{name: getattr(row, name) for name in _WAIT_COLUMNS})
    return StatusCard(JobState(row.shown_state), wait, **{name: getattr(row, name) for name in _FLAGS})


def _columns(card: StatusCard, now: datetime) -> dict[str, Any]:
    flags = {name: getattr(card, name) for name in _FLAGS}
    return {"shown_state": card.state, "edited_at": now, **asdict(card.wait), **flags}
