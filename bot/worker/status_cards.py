"""Keeps the status cards of jobs in progress up to date.

A stage posts a job's card, another removes it; in between, this service edits it whenever there is something new
to say. It edits sparsely: one card at a time in each channel, the most awaited first, so that a hundred jobs in
one channel stay within Discord's limits. A worker that dies while it edits leaves a card that is out of date until
the next edit; nothing else depends on it.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from bot.domain.errors import DeliveryError, StoreError
from bot.domain.jobs import Job, JobState
from bot.domain.status_cards import ShownCard, StatusCard
from bot.domain.waiting import NOTHING_KNOWN, TellRemaining, Wait, waits
from bot.operations.clock import Clock
from bot.store.jobs.status_cards import JobsInProgress, StatusCardStore
from bot.worker.background_service import wait_for

log = logging.getLogger(__name__)

INTERVAL_S = 2.0
"""How often the cards are compared with what they should say, and so how often a channel's are edited at most."""

EDITS_MAX = 20
"""The most edits in one round: a fifth of what Discord takes from a bot in that time (50 requests a second)."""

_EDIT_TIMEOUT_S = 10.0
_LOAD_MAX = 0.05
"""The largest share of the time that comparing may take, while thousands of jobs are in progress."""


class StatusMessenger(Protocol):
    """Posts cards; a protocol, since the worker must not import `bot.chat`. Methods raise DeliveryError."""

    async def show(self, job: Job, card: StatusCard, thumbnail: bytes | None, *, check_existing: bool) -> int:
        """Edits the job's card, or posts it where there is none; returns the message's id.

        thumbnail: the picture for the message. check_existing: an earlier attempt may have posted it already.
        """
        ...

    async def edit(self, job: Job, card: StatusCard) -> None:
        """Edits the job's card, unless somebody deleted it; its picture stays."""
        ...

    async def remove(self, job: Job) -> None:
        """Deletes the job's card, if there is one."""
        ...

    async def close(self, job: Job) -> None:
        """Says on the job's card how it failed, unless somebody deleted it."""
        ...


@dataclass(frozen=True, slots=True)
class _Edit:
    """An edit that is due."""

    shown: ShownCard
    card: StatusCard

    @property
    def urgency(self) -> tuple[object, ...]:
        """Sorts: what is awaited first, then the jobs that are submitted next, then the longest not edited."""
        ahead = self.card.wait.ahead
        return not self.card.is_news(self.shown.card), -1 if ahead is None else ahead, self.shown.edited_at


class StatusCards:
    """The cards of all jobs, for the stages and as a background service. slots: how many tasks run at a time."""

    def __init__(
        self,
        store: StatusCardStore,
        messenger: StatusMessenger,
        remaining: TellRemaining,
        *,
        slots: int,
        clock: Clock,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._store = store
        self._messenger = messenger
        self._remaining = remaining
        self._slots = slots
        self._clock = clock
        self._interval_s = interval_s
        self._stop = asyncio.Event()

    async def post(self, job: Job, *, check_existing: bool) -> int:
        """Posts the card of a job that waits, or edits it; returns the message's id. Raises: DeliveryError."""
        if job.state is JobState.AWAITING:  # no moderator has seen the picture yet
            return await self._messenger.show(job, StatusCard(job.state), None, check_existing=check_existing)
        now = self._clock()
        known, thumbnail = await self._store.in_progress(), await self._store.thumbnail(job.id)
        wait = self._waits(known, now).get(job.id, NOTHING_KNOWN)
        card = replace(_card(known, job.id, job.state, wait, now), has_thumbnail=thumbnail is not None)
        message_id = await self._messenger.show(job, card, thumbnail, check_existing=check_existing)
        try:
            await self._store.show(job.id, card, now)
        except StoreError as error:
            log.warning("job %s: what its card says isn't known: %s", job.id, error)
        return message_id

    async def remove(self, job: Job) -> None:
        """Removes the card of a job that ended. Raises: DeliveryError."""
        await self._messenger.remove(job)

    async def close(self, job: Job) -> None:
        """Says how a job failed on its card, where no other message can. Raises: DeliveryError."""
        await self._messenger.close(job)

    async def run(self) -> None:
        """Keeps the cards up to date until `stop` is called, through outages of the store and of Discord."""
        while not self._stop.is_set():
            begin_s = time.thread_time()
            await self.run_once()
            pause_s = max(self._interval_s, (time.thread_time() - begin_s) / _LOAD_MAX)
            await wait_for(self._stop, pause_s)

    async def run_once(self) -> None:
        """Edits the cards that are due."""
        now = self._clock()
        try:
            known = await self._store.in_progress()
            edits = _one_per_channel(self._due(known, now))
            if not edits:
                return
            jobs = {job.id: job for job in await self._store.jobs(edit.shown.job_id for edit in edits)}
        except StoreError as error:
            log.debug("the status cards can't be compared: %s", error)
            return
        await asyncio.gather(*(self._edit(jobs[edit.shown.job_id], edit, now) for edit in edits))

    def wake(self) -> None:
        """Does nothing: a new job's stage posts its card."""

    def stop(self) -> None:
        """Ends `run`."""
        self._stop.set()

    def _waits(self, known: JobsInProgress, now: datetime) -> Mapping[str, Wait]:
        return waits(known.jobs, self._slots, now, self._remaining)

    def _due(self, known: JobsInProgress, now: datetime) -> Iterator[_Edit]:
        found = self._waits(known, now)
        for job in known.jobs:
            shown = known.shown.get(job.id)
            if shown is None:
                continue
            wait = found.get(job.id, NOTHING_KNOWN)
            card = _card(known, job.id, job.state, wait, now).following(shown.card)
            if card.replaces(shown.card, now - shown.edited_at):
                yield _Edit(shown, card)

    async def _edit(self, job: Job, edit: _Edit, now: datetime) -> None:
        if job.state is not edit.card.state:
            return  # it has moved on meanwhile
        try:
            if not await self._store.claim(edit.shown, edit.card, now):
                return
            async with asyncio.timeout(_EDIT_TIMEOUT_S):
                await self._messenger.edit(job, edit.card)
        except (StoreError, DeliveryError, TimeoutError) as error:
            log.info("job %s: its status card isn't edited: %s", job.id, error)
        except Exception:
            log.exception("job %s: its status card can't be edited", job.id)


def _card(known: JobsInProgress, job_id: str, state: JobState, wait: Wait, now: datetime) -> StatusCard:
    shown = known.shown.get(job_id)
    told = shown is not None and shown.card.service_closed
    closed = known.gate.is_worth_telling(now, told=told)
    return StatusCard(state, wait, service_closed=closed, is_cancelled=job_id in known.cancelled)


def _one_per_channel(due: Iterator[_Edit]) -> list[_Edit]:
    """The most urgent edit of each channel, the most urgent first."""
    first: dict[int, _Edit] = {}
    for edit in sorted(due, key=lambda edit: edit.urgency):
        first.setdefault(edit.shown.channel_id, edit)
    return list(first.values())[:EDITS_MAX]
