"""Status cards are kept up to date, sparsely, by whichever worker comes first."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.exc import ProgrammingError

from bot.domain.errors import DeliveryDelayed
from bot.domain.jobs import Job, JobState, NewJob, Order, new_job_id
from bot.domain.models import TaskKind
from bot.domain.outcomes import JobUpdate, MoveTo, Reschedule
from bot.domain.policy import Requester
from bot.domain.status_cards import SELDOM
from bot.domain.task_durations import Remaining
from bot.store.jobs import submission_gate
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.status_cards import JobsInProgress, StatusCardStore
from bot.worker.status_cards import EDITS_MAX, StatusCards
from tests.fake_messengers import FakeMessenger
from tests.fakes import FRAME, FakeClock
from tests.providers_asked import VTRIX, vtrix
from tests.store.factories import MINUTE, claim

TAKES_S = 60.0
_WAITS = Reschedule(None)


def a_minute(_kind: TaskKind, age_s: float) -> Remaining | None:
    return Remaining(max(TAKES_S - age_s, 1.0), max(TAKES_S - age_s, 1.0) + 30)


class CardHarness:
    """Jobs in a real store, whose cards one or several workers keep."""

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self.clock = FakeClock()
        self.messenger = FakeMessenger()
        self.cards = self.worker()

    def worker(self) -> StatusCards:
        return StatusCards(
            StatusCardStore(self.store._db), self.messenger, a_minute, slots=1, clock=self.clock, interval_s=0
        )

    async def queued(self, user_id: int, channel_id: int = 100, frame: bool = True) -> Job:  # noqa: FBT001, FBT002
        """A job in the queue whose card is posted."""
        self.clock.move(milliseconds=1)
        new = NewJob(new_job_id(), 10, channel_id, user_id, Order("a fox"))
        picture = replace(FRAME, thumbnail=b"small" if frame else None)
        job = await self.store.add(new, picture, Requester(10, channel_id, user_id), self.clock())
        job = await claim(self.store, job.id, self.clock())
        message_id = await self.cards.post(job, check_existing=False)
        update = JobUpdate(status_message_id=message_id)
        assert await self.store.apply(job, replace(_WAITS, update=update), self.clock())
        return await self.reload(job)

    async def submitted(self, user_id: int, channel_id: int = 100) -> Job:
        """A job whose task runs."""
        job = await self.queued(user_id, channel_id)
        return await self.submit(job)

    async def submit(self, job: Job) -> Job:
        held = await self.store.claim_queued(self.clock(), vtrix(99), MINUTE)
        assert held is not None
        assert held.id == job.id
        update = JobUpdate(upstream_id=f"task of {job.id}", submitted_at=self.clock())
        assert await self.store.apply(held, MoveTo(JobState.RUNNING, update), self.clock())
        return await self.reload(job)

    async def reload(self, job: Job) -> Job:
        found = await self.store.get(job.id)
        assert found is not None
        return found

    def edits(self) -> int:
        return self.messenger.calls.count("edit_status")


@pytest.fixture
def harness(store: JobStore) -> CardHarness:
    return CardHarness(store)


async def test_a_new_card_has_the_picture_a_place_and_a_time(harness: CardHarness) -> None:
    await harness.submitted(1)
    job = await harness.queued(2)

    card = harness.messenger.cards[job.id]
    assert (card.state, card.wait.ahead, card.has_thumbnail) == (JobState.QUEUED, 0, True)
    assert card.wait.likely_at is not None
    assert round((card.wait.likely_at - harness.clock()).total_seconds()) == 2 * TAKES_S


async def test_a_card_without_a_picture_is_posted_all_the_same(harness: CardHarness) -> None:
    job = await harness.queued(1, frame=False)
    assert not harness.messenger.cards[job.id].has_thumbnail


async def test_a_card_that_waits_for_a_moderator_shows_no_picture(harness: CardHarness) -> None:
    job = replace(await harness.queued(1), state=JobState.AWAITING)
    await harness.cards.post(job, check_existing=False)
    assert not harness.messenger.cards[job.id].has_thumbnail


async def test_a_stage_is_shown_soon_and_nothing_is_edited_without_news(harness: CardHarness) -> None:
    job = await harness.submitted(1)
    harness.clock.move(seconds=2)

    await harness.cards.run_once()
    assert harness.messenger.cards[job.id].state is JobState.RUNNING
    assert harness.messenger.cards[job.id].has_thumbnail

    harness.clock.move(seconds=2)
    await harness.cards.run_once()
    assert harness.edits() == 1


async def test_a_bar_moves_seldom_and_never_back(harness: CardHarness) -> None:
    job = await harness.submitted(1)
    shares: list[float] = []
    for _ in range(60):
        harness.clock.move(seconds=2)
        await harness.cards.run_once()
        share = harness.messenger.cards[job.id].wait.share
        assert share is not None
        shares.append(share)

    assert shares == sorted(shares)
    assert harness.edits() <= 120 / SELDOM.total_seconds() + 1


async def test_in_one_channel_one_card_is_edited_at_a_time_the_next_in_line_first(harness: CardHarness) -> None:
    running = await harness.submitted(1)
    waiting = [await harness.queued(user) for user in (2, 3, 4)]
    harness.clock.move(seconds=2)
    await harness.cards.run_once()
    assert harness.messenger.cards[running.id].state is JobState.RUNNING
    assert harness.edits() == 1

    harness.messenger.calls.clear()
    await harness.submit(waiting[0])
    for round_number in range(1, 4):
        harness.clock.move(seconds=2)
        await harness.cards.run_once()
        assert harness.edits() == round_number
    assert [harness.messenger.cards[job.id].wait.ahead for job in waiting] == [None, 0, 1]


@pytest.mark.full
async def test_the_edits_of_one_round_are_bounded(harness: CardHarness) -> None:
    for number in range(EDITS_MAX + 5):
        await harness.submitted(number, channel_id=200 + number)
    harness.clock.move(seconds=2)

    await harness.cards.run_once()
    assert harness.edits() == EDITS_MAX
    await harness.cards.run_once()
    assert harness.edits() == EDITS_MAX + 5


async def test_two_workers_edit_a_card_once(harness: CardHarness) -> None:
    await harness.submitted(1)
    harness.clock.move(seconds=2)
    other = harness.worker()

    hanging = harness.messenger.hang("edit_status")
    first, second = asyncio.create_task(harness.cards.run_once()), asyncio.create_task(other.run_once())
    await harness.messenger.wait_for_call("edit_status")
    hanging.set()
    await asyncio.gather(first, second)

    assert harness.edits() == 1


async def test_discord_out_of_order_costs_one_edit_and_the_next_one_corrects_it(harness: CardHarness) -> None:
    job = await harness.submitted(1)
    harness.messenger.fail("edit_status", DeliveryDelayed("503"))
    for _ in range(8):
        harness.clock.move(seconds=2)
        await harness.cards.run_once()

    assert harness.messenger.cards[job.id].state is JobState.RUNNING


async def test_a_job_that_ended_is_not_edited(harness: CardHarness) -> None:
    job = await harness.submitted(1)
    held = await claim(harness.store, job.id, harness.clock() + MINUTE)
    assert await harness.store.apply(held, MoveTo(JobState.CANCELLED), harness.clock())
    harness.clock.move(seconds=2)

    await harness.cards.run_once()

    assert harness.edits() == 0


async def test_a_cancelled_task_says_so_while_it_ends(harness: CardHarness) -> None:
    job = await harness.submitted(1)
    await harness.store.cancel(job.id, harness.clock(), even_if_paid=True)
    harness.clock.move(seconds=2)

    await harness.cards.run_once()

    assert harness.messenger.cards[job.id].is_cancelled


async def test_a_long_closure_of_the_video_service_is_told_and_so_is_its_end(harness: CardHarness) -> None:
    job = await harness.queued(1)
    async with harness.store._db.write() as connection:
        until = harness.clock() + timedelta(minutes=5)
        await submission_gate.close(connection, VTRIX, until, "no balance", harness.clock())
    told = []
    for _ in range(2):
        harness.clock.move(seconds=2)
        await harness.cards.run_once()
        told.append(harness.messenger.cards[job.id].is_held_up)
        harness.clock.move(minutes=5)

    assert told == [True, False]


async def test_a_card_that_is_posted_again_keeps_how_far_its_bar_was(harness: CardHarness) -> None:
    job = await harness.queued(1)
    before = harness.messenger.cards[job.id]
    harness.clock.move(seconds=60)
    await harness.cards.run_once()
    further = harness.messenger.cards[job.id].wait.share
    harness.clock.move(seconds=-59)  # as if everything took longer from now on

    await harness.cards.post(await harness.reload(job), check_existing=True)

    assert before.wait.share is not None
    assert further is not None
    assert further > before.wait.share
    assert harness.messenger.cards[job.id].wait.share == further


class BrokenCardStore(StatusCardStore):
    """Fails as the database does after another version has changed it."""

    async def in_progress(self) -> JobsInProgress:
        raise ProgrammingError("SELECT", {}, Exception("no such column"))


async def test_a_fault_that_nobody_expects_ends_no_worker(
    harness: CardHarness, caplog: pytest.LogCaptureFixture
) -> None:
    cards = StatusCards(
        BrokenCardStore(harness.store._db), harness.messenger, a_minute, slots=1, clock=harness.clock, interval_s=0
    )

    await cards.run_once()

    assert "the status cards can't be compared" in caplog.text
