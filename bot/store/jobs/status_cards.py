"""What the status cards of jobs in progress say, and what it depends on, for every worker on the database."""

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, exists, insert, select, update

from bot.domain.extensions import ParentMessage
from bot.domain.guilds import OperatorDefaults
from bot.domain.jobs import ENDED, Job, JobState, ProviderName, Resolution
from bot.domain.models import TaskKind
from bot.domain.status_cards import ShownCard, StatusCard
from bot.domain.waiting import InProgress, Wait
from bot.operations.clock import Clock, utc_now
from bot.store.engine import Connection, Database
from bot.store.jobs import extensions, submissions, variations
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.jobs.submission_gate import Gate
from bot.store.schema import IS_ACTIVE, first_frames, jobs, status_cards
from bot.store.schema import extensions as extended
from bot.store.schema import variations as places

_CARD_STATES = (JobState.QUEUED, JobState.SUBMITTING, JobState.RUNNING, JobState.DELIVERING)
"""States in which a card changes by itself. One that awaits a moderator stays as it is."""

_JOB_COLUMNS = ("id", "state", "user_id", *TaskKind._fields, "created_at", "submitted_at")
_WAIT_COLUMNS = [field.name for field in fields(Wait)]
_FLAGS = ("service_closed", "is_cancelled", "has_thumbnail")


@dataclass(frozen=True, slots=True)
class JobsInProgress:
    """All jobs in progress.

    cancelled: the ids of those that their members cancelled. shown: the cards, by id. together: the jobs that
    share a card, in their order: the state of each by its id, of ended ones too. gates: which one decides whether
    jobs of a model wait, by the job's id. parents: the videos that jobs go
    on from, by the job's id.
    """

    jobs: list[InProgress]
    cancelled: frozenset[str]
    shown: Mapping[str, ShownCard]
    gates: Mapping[str, Gate]
    together: list[dict[str, JobState]]
    parents: Mapping[str, ParentMessage] = field(default_factory=dict)


class StatusCardStore:
    """The cards in a database. Every method raises StoreError where the database fails.

    rules: where new jobs are made, and for how much.
    """

    def __init__(
        self,
        database: Database,
        rules: OperatorDefaults | None = None,
        *,
        clock: Clock = utc_now,
    ) -> None:
        self._database = database
        self._rules = rules or OperatorDefaults()
        self._clock = clock

    async def in_progress(self) -> JobsInProgress:
        """What all cards depend on."""
        columns = [jobs.c[name] for name in (*_JOB_COLUMNS, "channel_id", "cancel_requested")]
        cards_of_jobs = select(*columns, *status_cards.c)
        query = (
            cards_of_jobs.add_columns(extended.c.parent_id)
            .outerjoin(status_cards, status_cards.c.job_id == jobs.c.id)
            .outerjoin(extended, extended.c.job_id == jobs.c.id)
            .where(IS_ACTIVE, jobs.c.state.in_(_CARD_STATES))
        )
        # Of an ended job, only a card that it shares is still shown.
        ended = cards_of_jobs.join_from(status_cards, jobs, jobs.c.id == status_cards.c.job_id).where(
            jobs.c.state.in_(sorted(ENDED))
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(variations.with_place(query))).all()
            shared = any(row.group_id is not None for row in rows)
            also = (await connection.execute(variations.with_place(ended))).all() if shared else []
            gates = await submissions.gates(connection, self._rules, self._clock())
            parent_ids = {row.id: row.parent_id for row in rows if row.parent_id is not None}
            messages = await extensions.parent_messages(connection, parent_ids.values()) if parent_ids else {}
        catalog, now = self._rules.catalog, self._clock()
        models = {row.model for row in (*rows, *also)}
        of_model = {model: submissions.gate_of_model(gates, catalog, model, now) for model in models}
        return JobsInProgress(
            [_in_progress(row, self._rules.catalog.providers[0]) for row in rows],
            frozenset(row.id for row in rows if row.cancel_requested),
            {
                row.id: ShownCard(row.id, row.channel_id, _card(row), row.edited_at)
                for row in (*rows, *also)
                if row.job_id
            },
            {row.id: of_model[row.model] for row in (*rows, *also)},
            _together(rows, also),
            {job_id: messages[parent_id] for job_id, parent_id in parent_ids.items() if parent_id in messages},
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

    async def ordered_with(self, job_id: str) -> list[Job]:
        """The job and its variations, in their order; nothing if it was ordered alone."""
        async with self._database.read() as connection:
            return await variations.ordered_with(connection, job_id)

    async def show(self, cards: Mapping[str, StatusCard], now: datetime) -> None:
        """Records what a message that was just posted or edited says about each job, if one is in progress."""
        of_these = jobs.c.id.in_(list(cards))
        locked = select(jobs.c.state).where(of_these).order_by(jobs.c.id).with_for_update()
        async with self._database.write() as connection:
            if all(state in ENDED for state in await connection.scalars(locked)):
                return
            await connection.execute(delete(status_cards).where(status_cards.c.job_id.in_(list(cards))))
            rows = [_columns(card, now) | {"job_id": job_id} for job_id, card in cards.items()]
            await connection.execute(insert(status_cards), rows)

    async def claim(self, shown: Mapping[str, ShownCard], cards: Mapping[str, StatusCard], now: datetime) -> bool:
        """Records that the shown cards of one message are about to be edited; False if another worker was quicker.

        cards: what they will say.
        """
        first, *others = sorted(cards)  # whoever changes the first one has claimed all
        is_same = (status_cards.c.job_id == first) & (status_cards.c.edited_at == shown[first].edited_at)
        async with self._database.write() as connection:
            change = update(status_cards).where(is_same).values(_columns(cards[first], now))
            if (await connection.execute(change)).rowcount != 1:
                return False
            for job_id in others:
                change = update(status_cards).where(status_cards.c.job_id == job_id)
                await connection.execute(change.values(_columns(cards[job_id], now)))
        return True

    async def forget_shared(self, job_ids: Collection[str]) -> None:
        """Deletes the cards of variations that have all ended."""
        async with self._database.write() as connection:
            await connection.execute(delete(status_cards).where(status_cards.c.job_id.in_(list(job_ids))))


async def forget(connection: Connection, job_id: str) -> None:
    """Deletes the card of a job that ended, inside the caller's transaction; one that it shares is kept."""
    is_shared = exists(select(places.c.job_id).where(places.c.job_id == job_id))
    await connection.execute(delete(status_cards).where(status_cards.c.job_id == job_id, ~is_shared))


def _together(*found: Iterable[Row[Any]]) -> list[dict[str, JobState]]:
    groups: defaultdict[str, list[tuple[int, str, JobState]]] = defaultdict(list)
    for row in itertools.chain(*found):
        if row.group_id is not None:
            groups[row.group_id].append((row.position, row.id, JobState(row.state)))
    return [{job_id: state for _, job_id, state in sorted(members)} for members in groups.values()]


def _in_progress(row: Row[Any], first: ProviderName) -> InProgress:
    """first: who is asked first, for jobs that no provider has yet."""
    provider = ProviderName(row.provider) if row.provider else first
    kind = TaskKind(provider, row.model, Resolution(row.resolution), row.duration_s)
    return InProgress(row.id, JobState(row.state), row.user_id, kind, row.created_at, row.submitted_at)


def _card(row: Row[Any]) -> StatusCard:
    wait = Wait(**{name: getattr(row, name) for name in _WAIT_COLUMNS})
    return StatusCard(JobState(row.shown_state), wait, **{name: getattr(row, name) for name in _FLAGS})


def _columns(card: StatusCard, now: datetime) -> dict[str, Any]:
    flags = {name: getattr(card, name) for name in _FLAGS}
    return {"shown_state": card.state, "edited_at": now, **asdict(card.wait), **flags}
