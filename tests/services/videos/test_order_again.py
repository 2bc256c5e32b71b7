"""Making a video again: whose it is, what is the same, and by which rules."""

import asyncio
from dataclasses import replace

import pytest

from bot.domain.errors import NotPossible, OrderRefused, Problem, QuotaRefused, RuleRefused
from bot.domain.jobs import Job, JobState, PictureLabels, Resolution
from bot.domain.outcomes import JobUpdate, MoveTo, Reschedule
from bot.domain.policy import Requester
from bot.domain.repeats import OrderChanges
from bot.services.videos import VideoService
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from tests.fakes import NOW
from tests.services.videos.conftest import (
    LEASE,
    MEMBER,
    Attachment,
    WakeCounter,
    move_to_running,
    picture,
    set_guild,
)

OTHER = replace(MEMBER, user_id=2)
MESSAGE = 2000
CLICK = 900


async def posted(service: VideoService, store: JobStore, **options: object) -> Job:
    """A video of the member's in its channel."""
    labels = PictureLabels("SPOILER_fox.png", "a red fox")
    given = {"prompt": "a fox", "negative_prompt": "rain", "resolution": "480P", "seed": 7, "watermark": True}
    read = Attachment(picture()).read
    job = (await service.accept(MEMBER, read, picture=labels, **given | options)).job  # type: ignore[arg-type]
    await move_to_running(store, job)
    for outcome in (
        MoveTo(JobState.DELIVERING, JobUpdate(result_url="https://x/video.mp4")),
        MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=MESSAGE)),
        Reschedule(None),
    ):
        [held] = await store.claim_due(NOW, 1, dict.fromkeys(JobState, LEASE))
        assert await store.apply(held, outcome, NOW)
    found = await store.get(job.id)
    assert found is not None
    return found


async def test_again_is_the_same_with_another_seed(
    service: VideoService, store: JobStore, wakes: WakeCounter
) -> None:
    source = await posted(service, store)
    woken = wakes.count

    job = (await service.order_again(source.id, MEMBER, {}, interaction_id=CLICK)).job

    assert job.order == replace(source.order, seed=job.order.seed)
    assert job.order.seed not in {None, source.order.seed}
    assert (job.picture_name, job.picture_alt_text) == (source.picture_name, source.picture_alt_text)
    assert await store.frame(job.id) == await store.frame(source.id)
    assert wakes.count == woken + 1


async def test_changes_replace_what_they_name(service: VideoService, store: JobStore) -> None:
    source = await posted(service, store)
    changes = OrderChanges(prompt=" a  wolf", negative_prompt=None, resolution="720P", seed=8)

    order = (await service.order_again(source.id, MEMBER, changes, interaction_id=CLICK)).job.order

    assert order == replace(
        source.order, prompt="a wolf", negative_prompt=None, resolution=Resolution.P720, seed=8
    )


async def test_somebody_elses_video_made_again_is_their_own(service: VideoService, store: JobStore) -> None:
    source = await posted(service, store)

    accepted = await service.order_again(source.id, OTHER, {}, interaction_id=CLICK)

    assert accepted.job.user_id == OTHER.user_id
    assert len((await service.allowance(OTHER)).usage.charged_at) == 1
    assert len((await service.allowance(MEMBER)).usage.charged_at) == 1


async def test_one_interaction_orders_once_and_another_orders_again(
    service: VideoService, store: JobStore
) -> None:
    source = await posted(service, store)

    first = await service.order_again(source.id, OTHER, {}, interaction_id=CLICK)
    repeated = await service.order_again(source.id, OTHER, {}, interaction_id=CLICK)
    another = await service.order_again(source.id, OTHER, {}, interaction_id=CLICK + 1)

    assert first.job.id == repeated.job.id != another.job.id
    with pytest.raises(QuotaRefused):
        await service.order_again(source.id, OTHER, {}, interaction_id=CLICK + 2)
    assert (await service.order_again(source.id, OTHER, {}, interaction_id=CLICK)).job.id == first.job.id


@pytest.mark.parametrize(
    "requester",
    [
        replace(MEMBER, guild_id=11),
        replace(OTHER, guild_id=11),
        replace(OTHER, channel_id=101),
    ],
    ids=["their own in another server", "another's in another server", "another's in another channel"],
)
async def test_only_a_video_that_can_be_seen_is_made_again(
    service: VideoService, store: JobStore, requester: Requester
) -> None:
    source = await posted(service, store)

    with pytest.raises(NotPossible) as refused:
        await service.order_again(source.id, requester, {}, interaction_id=CLICK)

    assert refused.value.reason is Problem.VIDEO_NOT_KNOWN


async def test_an_unknown_video_is_refused_like_one_of_another_server(service: VideoService) -> None:
    with pytest.raises(NotPossible) as refused:
        await service.order_again("unknown", MEMBER, {}, interaction_id=CLICK)

    assert refused.value.reason is Problem.VIDEO_NOT_KNOWN


async def test_a_video_that_is_not_posted_yet_is_only_its_members(service: VideoService) -> None:
    waiting = (await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox")).job

    with pytest.raises(NotPossible):
        await service.order_again(waiting.id, OTHER, {}, interaction_id=CLICK)
    assert (await service.order_again(waiting.id, MEMBER, {}, interaction_id=CLICK)).job.id != waiting.id


async def test_their_own_video_is_made_again_in_any_channel_of_its_server(
    service: VideoService, store: JobStore
) -> None:
    source = await posted(service, store)
    elsewhere = replace(MEMBER, channel_id=101)

    assert (await service.order_again(source.id, elsewhere, {}, interaction_id=CLICK)).job.channel_id == 101


async def test_a_video_whose_picture_is_gone_is_not_made_again(service: VideoService, store: JobStore) -> None:
    source = await posted(service, store)
    await service.video_removed(source.id, MESSAGE, guild_id=source.guild_id)

    with pytest.raises(NotPossible) as refused:
        await service.order_again(source.id, MEMBER, {}, interaction_id=CLICK)

    assert refused.value.reason is Problem.PICTURE_NOT_KEPT


async def test_the_servers_rules_apply_as_to_any_order(
    service: VideoService, store: JobStore, database: Database
) -> None:
    source = await posted(service, store)
    await set_guild(database, paused=True)

    with pytest.raises(RuleRefused):
        await service.order_again(source.id, OTHER, {}, interaction_id=CLICK)

    await set_guild(database, paused=False, approval_required=True)
    job = (await service.order_again(source.id, OTHER, {}, interaction_id=CLICK)).job
    assert job.state is JobState.AWAITING


@pytest.mark.parametrize("changes", [{"prompt": " "}, {"prompt": "x" * 801}, {"seed": -1}, {"resolution": "4K"}])
async def test_a_change_that_the_model_does_not_take_is_refused(
    service: VideoService, store: JobStore, changes: OrderChanges
) -> None:
    source = await posted(service, store)

    with pytest.raises(OrderRefused):
        await service.order_again(source.id, MEMBER, changes, interaction_id=CLICK)


async def test_only_videos_with_a_picture_are_offered(service: VideoService, store: JobStore) -> None:
    first, second = await posted(service, store), await posted(service, store, prompt="a wolf")
    await service.video_removed(first.id, MESSAGE, guild_id=first.guild_id)

    assert await service.with_pictures([first, second]) == [second]


async def test_variations_of_a_video_are_ordered_once_however_often_one_answers(
    service: VideoService, store: JobStore
) -> None:
    source = await posted(service, store)

    first = await service.order_again(source.id, OTHER, {}, interaction_id=CLICK, variations=2)
    again = await service.order_again(source.id, OTHER, {}, interaction_id=CLICK, variations=2)

    assert [job.id for job in again.jobs] == [job.id for job in first.jobs]
    assert len({job.order.seed for job in (source, *first.jobs)}) == 3
    assert [await store.frame(job.id) for job in first.jobs] == [await store.frame(source.id)] * 2
    assert len(await store.recent(10, OTHER.user_id, 10)) == 2


async def test_variations_that_are_ordered_at_the_same_time_by_one_click_are_ordered_once(
    service: VideoService, store: JobStore
) -> None:
    source = await posted(service, store)

    both = await asyncio.gather(
        *(service.order_again(source.id, OTHER, {}, interaction_id=CLICK, variations=2) for _ in range(2)),
        return_exceptions=True,
    )

    assert any(not isinstance(one, BaseException) for one in both)
    assert len(await store.recent(10, OTHER.user_id, 10)) == 2


async def test_more_variations_of_a_video_than_fit_are_refused_as_a_whole(
    service: VideoService, store: JobStore
) -> None:
    source = await posted(service, store)

    with pytest.raises(QuotaRefused):
        await service.order_again(source.id, OTHER, {}, interaction_id=CLICK, variations=3)

    assert await store.recent(10, OTHER.user_id, 10) == []
