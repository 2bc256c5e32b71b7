"""What status cards say is kept for every worker on the database, as long as their jobs are in progress."""

import pytest
from sqlalchemy import func, select

from bot.domain.jobs import FailureReason, Frame, JobState
from bot.domain.outcomes import Fail, MoveTo
from bot.domain.status_cards import StatusCard
from bot.domain.waiting import Wait
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.status_cards import StatusCardStore
from bot.store.schema import status_cards
from tests.store.factories import DETAIL, MINUTE, NOW, SECOND, add_waiting, bring_to, new_job, requester_of

CARD = StatusCard(
    JobState.QUEUED,
    Wait(3, NOW + MINUTE, NOW + 2 * MINUTE, is_unusual=True, share=0.25),
    service_closed=True,
    is_cancelled=True,
    has_thumbnail=True,
)


@pytest.fixture
def cards(database: Database) -> StatusCardStore:
    return StatusCardStore(database)


async def card_count(database: Database) -> int:
    async with database.read() as connection:
        return await connection.scalar(select(func.count()).select_from(status_cards)) or 0


@pytest.mark.parametrize("card", [CARD, StatusCard(JobState.RUNNING)])
async def test_a_shown_card_is_read_as_it_was_written(
    store: JobStore, cards: StatusCardStore, card: StatusCard
) -> None:
    job = await add_waiting(store)

    await cards.show({job.id: StatusCard(JobState.QUEUED)}, NOW)
    await cards.show({job.id: card}, NOW + SECOND)

    shown = (await cards.in_progress()).shown[job.id]
    assert (shown.channel_id, shown.card, shown.edited_at) == (job.channel_id, card, NOW + SECOND)


async def test_an_edit_is_claimed_by_one_worker_only(store: JobStore, cards: StatusCardStore) -> None:
    job = await add_waiting(store)
    await cards.show({job.id: StatusCard(JobState.QUEUED)}, NOW)
    shown = (await cards.in_progress()).shown[job.id]

    assert await cards.claim({job.id: shown}, {job.id: CARD}, NOW + SECOND)
    assert not await cards.claim({job.id: shown}, {job.id: CARD}, NOW + 2 * SECOND)
    assert (await cards.in_progress()).shown[job.id].edited_at == NOW + SECOND


@pytest.mark.parametrize(
    ("state", "end"),
    [
        (JobState.DELIVERING, MoveTo(JobState.DELIVERED)),
        (JobState.RUNNING, Fail(FailureReason.TIMED_OUT, DETAIL)),
        (JobState.QUEUED, None),
    ],
    ids=["delivered", "failed", "cancelled"],
)
async def test_the_card_of_a_job_that_ended_is_forgotten(
    database: Database, store: JobStore, cards: StatusCardStore, state: JobState, end: MoveTo | Fail | None
) -> None:
    job = await bring_to(store, state)
    await cards.show({job.id: CARD}, NOW)
    if end is None:
        await store.cancel(job.id, NOW, even_if_paid=False)
    else:
        await store.apply(job, end, NOW)

    assert await card_count(database) == 0
    await cards.show({job.id: CARD}, NOW)  # by a stage that was slow
    assert await card_count(database) == 0


async def test_jobs_that_wait_for_a_moderator_or_have_ended_are_not_in_progress(
    store: JobStore, cards: StatusCardStore
) -> None:
    await bring_to(store, JobState.DELIVERED)
    running, queued = await bring_to(store, JobState.RUNNING), await add_waiting(store)

    found = (await cards.in_progress()).jobs

    assert {job.id: job.state for job in found} == {queued.id: JobState.QUEUED, running.id: JobState.RUNNING}


async def test_a_cancelled_job_is_known_as_such(store: JobStore, cards: StatusCardStore) -> None:
    running = await bring_to(store, JobState.RUNNING)
    await store.cancel(running.id, NOW, even_if_paid=True)

    assert (await cards.in_progress()).cancelled == {running.id}


@pytest.mark.parametrize("thumbnail", [b"\xff\xd8 a small one", None])
async def test_a_picture_is_read_as_its_thumbnail(
    store: JobStore, cards: StatusCardStore, thumbnail: bytes | None
) -> None:
    new = new_job()
    await store.add(new, Frame(b"\xff\xd8 a picture", "image/jpeg", thumbnail), requester_of(new), NOW)

    assert await cards.thumbnail(new.id) == thumbnail
    assert await cards.thumbnail("no such job") is None
