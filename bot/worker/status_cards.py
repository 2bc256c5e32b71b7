"""Keeps the status cards of jobs in progress up to date.

A stage posts a job's card, another removes it; in between, this service edits it whenever there is something new
to say. It edits sparsely: one card at a time in each channel, the most awaited first, so that a hundred jobs in
one channel stay within Discord's limits. A worker that dies while it edits leaves a card that is out of date until
the next edit; nothing else depends on it.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol
from weakref import WeakValueDictionary

from bot.domain.errors import DeliveryError, StoreError
from bot.domain.jobs import ENDED, Job, JobState
from bot.domain.status_cards import (
    SELDOM,
    AnyCard,
    ShownCard,
    StatusCard,
    VariationsCard,
    shared_message_id,
)
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
_NONCE_LIFETIME = timedelta(minutes=1)
"""For how long Discord certainly knows a message by its nonce ("within the last few minutes")."""

_LOAD_MAX = 0.05
"""The largest share of the time that comparing may take, while thousands of jobs are in progress."""


class StatusMessenger(Protocol):
    """Posts cards; a protocol, since the worker must not import `bot.chat`. Methods raise DeliveryError."""

    async def show(self, job: Job, card: AnyCard, thumbnail: bytes | None, *, check_existing: bool) -> int:
        """Edits the job's card, or posts it where there is none; returns the message's id.

        thumbnail: the picture for the message. check_existing: an earlier attempt may have posted it already.
        """
        ...

    async def edit(self, job: Job, card: AnyCard) -> None:
        """Edits the job's card, unless somebody deleted it; its picture stays."""
        ...

    async def remove(self, job: Job, shared_with: Collection[str] = ()) -> None:
        """Deletes the job's card, if there is one. shared_with: the ids of the jobs that have the same card."""
        ...

    async def close(self, job: Job) -> None:
        """Says on the job's card how it failed, unless somebody deleted it."""
        ...


@dataclass(frozen=True, slots=True)
class _Edit:
    """An edit of one message that is due: what it shows and will say about each of its jobs, by id."""

    shown: Mapping[str, ShownCard]
    cards: Mapping[str, StatusCard]

    @property
    def _any_shown(self) -> ShownCard:
        return next(iter(self.shown.values()))

    @property
    def channel_id(self) -> int:
        """Where the message is."""
        return self._any_shown.channel_id

    def is_due(self, now: datetime) -> bool:
        """Whether the message is worth an edit."""
        shown_for = now - self._any_shown.edited_at
        return any(card.replaces(self.shown[job_id].card, shown_for) for job_id, card in self.cards.items())

    @property
    def urgency(self) -> tuple[object, ...]:
        """Sorts: what is awaited first, then the jobs that are submitted next, then the longest not edited."""
        news = any(card.is_news(self.shown[job_id].card) for job_id, card in self.cards.items())
        ahead = min(-1 if card.wait.ahead is None else card.wait.ahead for card in self.cards.values())
        return not news, ahead, self._any_shown.edited_at


@dataclass(frozen=True, slots=True)
class _Posted:
    """A shared card that was just posted or edited. said: of which jobs, by id, and in which states."""

    message_id: int
    at: datetime
    said: frozenset[tuple[str, JobState]]


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
        self._posting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._posted: dict[str, _Posted] = {}

    async def post(self, job: Job, *, check_existing: bool) -> int:
        """Posts the card of a job that waits, or edits it; returns the message's id. Raises: DeliveryError."""
        together = await self._store.ordered_with(job.id)
        if together:
            return await self._post_shared(job, together, check_existing=check_existing)
        if job.state is JobState.AWAITING:  # no moderator has seen the picture yet
            return await self._messenger.show(job, StatusCard(job.state), None, check_existing=check_existing)
        now = self._clock()
        known, thumbnail = await self._store.in_progress(), await self._store.thumbnail(job.id)
        card = replace(self._cards_of([job], known, now)[job.id], has_thumbnail=thumbnail is not None)
        message_id = await self._messenger.show(job, card, thumbnail, check_existing=check_existing)
        try:
            await self._store.show({job.id: card}, now)
        except StoreError as error:
            log.warning("job %s: what its card says isn't known: %s", job.id, error)
        return message_id

    async def _post_shared(self, job: Job, together: list[Job], *, check_existing: bool) -> int:
        """Posts the one card of variations, or edits it."""
        key = together[0].id
        async with self._posting.setdefault(key, asyncio.Lock()):
            now = self._clock()
            self._posted = {old: one for old, one in self._posted.items() if now - one.at < SELDOM}
            posted = self._posted.get(key)
            if posted is not None and (job.id, job.state) in posted.said:
                return posted.message_id  # Discord has just taken it, and the refresher does the rest
            known = await self._store.in_progress()
            together = await self._store.ordered_with(job.id)
            is_unseen = any(one.state is JobState.AWAITING for one in together)
            thumbnail = None if is_unseen else await self._store.thumbnail(job.id)
            cards = self._cards_of(together, known, now)
            cards = {job_id: replace(card, has_thumbnail=thumbnail is not None) for job_id, card in cards.items()}
            message_id = await self._messenger.show(
                _with_message(job, together),
                VariationsCard(tuple(together), tuple(cards.values())),
                thumbnail,
                check_existing=check_existing or _may_be_posted(together, now),
            )
            said = frozenset((one.id, one.state) for one in together)
            self._posted[key] = _Posted(message_id, now, said)
            if not is_unseen:
                try:
                    await self._store.show(cards, now)
                except StoreError as error:
                    log.warning("job %s: what its card says isn't known: %s", job.id, error)
            return message_id

    def _cards_of(self, together: list[Job], known: JobsInProgress, now: datetime) -> dict[str, StatusCard]:
        """What the card of a job, or of variations, says about each."""
        found = self._waits(known, now)
        cards = {}
        for job in together:
            card = _card(known, job.id, job.state, found.get(job.id, NOTHING_KNOWN), now)
            shown = known.shown.get(job.id)
            cards[job.id] = card if shown is None else card.following(shown.card)
        return cards

    async def remove(self, job: Job) -> None:
        """Removes the card of a job that ended, unless it shares it with others in progress.

        Raises: DeliveryError.
        """
        together = await self._ordered_with(job)
        if not together:
            await self._messenger.remove(job)
        elif all(one.state in ENDED for one in together):
            ids = [one.id for one in together]
            await self._messenger.remove(_with_message(job, together), ids)
            await self._store.forget_shared(ids)
        elif job.is_removed or any(one.state is JobState.AWAITING for one in together):
            # Neither is a change that the refresher sees.
            now = self._clock()
            cards = self._cards_of(together, await self._store.in_progress(), now)
            card = VariationsCard(tuple(together), tuple(cards.values()))
            await self._messenger.edit(_with_message(job, together), card)

    async def close(self, job: Job) -> None:
        """Says how a job failed on its card, where no other message can. Raises: DeliveryError.

        A card that it shares with jobs in progress says so already.
        """
        together = await self._ordered_with(job)
        if all(one.state in ENDED for one in together):
            await self._messenger.close(_with_message(job, together))
            await self._store.forget_shared([one.id for one in together])

    async def _ordered_with(self, job: Job) -> list[Job]:
        """The variations that the job was ordered with, and itself as the caller knows it."""
        return [job if one.id == job.id else one for one in await self._store.ordered_with(job.id)]

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
            ids = [job_id for edit in edits for job_id in edit.cards]
            jobs = {job.id: job for job in await self._store.jobs(ids)}
        except StoreError as error:
            log.debug("the status cards can't be compared: %s", error)
            return
        except Exception:  # ours, or the database's: no promise depends on the cards
            log.exception("the status cards can't be compared")
            return
        await asyncio.gather(*(self._edit([jobs[one] for one in edit.cards], edit, now) for edit in edits))

    def wake(self) -> None:
        """Does nothing: a new job's stage posts its card."""

    def stop(self) -> None:
        """Ends `run`."""
        self._stop.set()

    def _waits(self, known: JobsInProgress, now: datetime) -> Mapping[str, Wait]:
        return waits(known.jobs, self._slots, now, self._remaining)

    def _due(self, known: JobsInProgress, now: datetime) -> Iterator[_Edit]:
        found = self._waits(known, now)
        shared = {job_id for together in known.together for job_id in together}
        alone: list[Mapping[str, JobState]] = [{job.id: job.state} for job in known.jobs if job.id not in shared]
        for states in (*alone, *known.together):
            shown = {job_id: known.shown[job_id] for job_id in states if job_id in known.shown}
            if len(shown) != len(states):
                continue  # it isn't posted yet
            cards = {
                job_id: _card(known, job_id, state, found.get(job_id, NOTHING_KNOWN), now).following(
                    shown[job_id].card
                )
                for job_id, state in states.items()
            }
            edit = _Edit(shown, cards)
            if edit.is_due(now):
                yield edit

    async def _edit(self, jobs: list[Job], edit: _Edit, now: datetime) -> None:
        cards = [edit.cards[job.id] for job in jobs]
        if any(job.state is not card.state for job, card in zip(jobs, cards, strict=True)):
            return  # it has moved on meanwhile
        job = _with_message(jobs[0], jobs)
        try:
            if not await self._store.claim(edit.shown, edit.cards, now):
                return
            async with asyncio.timeout(_EDIT_TIMEOUT_S):
                shared = VariationsCard(tuple(jobs), tuple(cards))
                await self._messenger.edit(job, cards[0] if len(jobs) == 1 else shared)
        except (StoreError, DeliveryError, TimeoutError) as error:
            log.info("job %s: its status card isn't edited: %s", job.id, error)
        except Exception:
            log.exception("job %s: its status card can't be edited", job.id)


def _with_message(job: Job, together: list[Job]) -> Job:
    """The job with the message that it shares, if another one knows it."""
    return replace(job, status_message_id=job.status_message_id or shared_message_id(together))


def _may_be_posted(together: list[Job], now: datetime) -> bool:
    """Whether the card of variations may have been posted already, by a worker that died since.

    Right after the order, Discord answers a second post with the first message, by its nonce.
    """
    is_repeated = any(job.attempts > 0 or job.claim_count > 1 for job in together)
    return is_repeated or now - together[0].created_at > _NONCE_LIFETIME


def _card(known: JobsInProgress, job_id: str, state: JobState, wait: Wait, now: datetime) -> StatusCard:
    shown = known.shown.get(job_id)
    told = shown is not None and shown.card.service_closed
    gate = known.gates.get(job_id)
    closed = gate is not None and gate.is_worth_telling(now, told=told)
    cancelled, parent = job_id in known.cancelled, known.parents.get(job_id)
    return StatusCard(state, wait, service_closed=closed, is_cancelled=cancelled, parent=parent)


def _one_per_channel(due: Iterator[_Edit]) -> list[_Edit]:
    """The most urgent edit of each channel, the most urgent first."""
    first: dict[int, _Edit] = {}
    for edit in sorted(due, key=lambda edit: edit.urgency):
        first.setdefault(edit.channel_id, edit)
    return list(first.values())[:EDITS_MAX]
