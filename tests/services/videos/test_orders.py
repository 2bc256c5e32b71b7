import asyncio
from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import pytest
from PIL import Image

from bot.domain.errors import (
    NotPossible,
    OrderRefused,
    PictureRefused,
    QuotaRefused,
)
from bot.domain.guilds import GuildSettings, LimitOverrides, OperatorDefaults
from bot.domain.jobs import (
    Frame,
    JobState,
    Order,
    Resolution,
)
from bot.domain.models import PictureLimits
from bot.domain.quotas import FewerFit, LimitName
from bot.media.first_frame import prepare_first_frame
from bot.media.prepared_frame import PictureChanges, PreparedFrame
from bot.services.videos import MAX_DECODERS, VideoService
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.jobs.job_store import JobStore
from tests.fakes import NOW, TASK_LIFETIME, FakeClock, prepare_frame_in_thread
from tests.providers_asked import CATALOG
from tests.services.videos.conftest import MEMBER, TWO, Attachment, WakeCounter, fill_quota, picture, set_guild

NINE = OperatorDefaults(catalog=CATALOG, limits=LimitOverrides(videos_per_window=9, max_active=9, cooldown_s=0))


async def test_an_order_becomes_a_job_with_its_frame_and_wakes_the_worker(
    service: VideoService, store: JobStore, wakes: WakeCounter
) -> None:
    accepted = await service.accept(
        MEMBER, Attachment(picture()).read, prompt="  a fox\nruns ", resolution="480P", seed=7, watermark=True
    )
    job = await store.get(accepted.job.id)
    assert job is not None
    assert job.order == Order("a fox runs", None, Resolution.P480, 7, prompt_extend=True, watermark=True)
    assert (job.guild_id, job.channel_id, job.user_id) == (10, 100, 1)
    assert (job.state, job.created_at) == (JobState.QUEUED, NOW)
    frame = await store.frame(job.id)
    assert isinstance(frame, Frame)
    assert Image.open(BytesIO(frame.data)).size == (640, 480)
    assert wakes.count == 1


async def test_changes_to_the_picture_are_returned(service: VideoService) -> None:
    accepted = await service.accept(MEMBER, Attachment(picture(3000, 1500)).read, prompt="a fox")
    assert accepted.changes == PictureChanges((3000, 1500), (2000, 1000))


async def test_a_bad_prompt_is_refused_before_quota_and_picture_are_checked(service: VideoService) -> None:
    await fill_quota(service)
    attachment = Attachment(b"not a picture")
    with pytest.raises(OrderRefused):
        await service.accept(MEMBER, attachment.read, prompt=" ")
    assert attachment.fetched == 0


async def test_a_full_quota_refuses_before_the_picture_is_fetched(
    service: VideoService, wakes: WakeCounter
) -> None:
    await fill_quota(service)
    attachment = Attachment(b"not a picture")
    with pytest.raises(QuotaRefused) as refused:
        await service.accept(MEMBER, attachment.read, prompt="a fox")
    assert refused.value.limit == LimitName.MAX_ACTIVE
    assert attachment.fetched == 0
    assert wakes.count == 2


async def test_a_bad_picture_is_refused_and_costs_nothing(
    service: VideoService, store: JobStore, wakes: WakeCounter
) -> None:
    with pytest.raises(PictureRefused):
        await service.accept(MEMBER, Attachment(b"not a picture").read, prompt="a fox")
    usage = (await store.allowance(MEMBER, NOW)).usage
    assert (usage.charged_at, usage.running) == ((), 0)
    assert wakes.count == 0


async def test_a_picture_that_can_not_be_fetched_costs_nothing(service: VideoService, store: JobStore) -> None:
    async def fetch() -> bytes:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await service.accept(MEMBER, fetch, prompt="a fox")
    assert await store.recent(10, 1, 10) == []


async def test_concurrent_services_never_exceed_the_limit_together(
    store: JobStore, database: Database, wakes: WakeCounter, clock: FakeClock
) -> None:
    """They all pass the first check of the quota; the store's transaction decides."""
    together = asyncio.Barrier(5)

    async def fetch() -> bytes:
        await together.wait()
        return picture()

    services = [
        VideoService(
            JobStore(database, TWO),
            wake=wakes.wake,
            clock=clock,
            task_lifetime=TASK_LIFETIME,
            prepare_first_frame=prepare_frame_in_thread,
        )
        for _ in range(5)
    ]
    results = await asyncio.gather(
        *(service.accept(MEMBER, fetch, prompt="a fox") for service in services), return_exceptions=True
    )
    assert sum(isinstance(result, QuotaRefused) for result in results) == 3
    assert len(await store.recent(10, 1, 10)) == 2


async def test_orders_count_towards_the_limit_while_their_pictures_are_fetched(service: VideoService) -> None:
    coming, arrived = asyncio.Barrier(3), asyncio.Event()

    async def fetch() -> bytes:
        await coming.wait()
        await arrived.wait()
        raise ConnectionResetError

    orders = [asyncio.create_task(service.accept(MEMBER, fetch, prompt="a fox")) for _ in range(2)]
    await coming.wait()
    attachment = Attachment(picture())
    with pytest.raises(QuotaRefused):
        await service.accept(MEMBER, attachment.read, prompt="a fox")
    assert attachment.fetched == 0
    arrived.set()
    await asyncio.gather(*orders, return_exceptions=True)
    await service.accept(MEMBER, attachment.read, prompt="a fox")


class BlockedDecoders:
    """Decoders that wait for `release`; counts those waiting or running."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.entered = asyncio.Event()
        self.inside = 0

    async def prepare_first_frame(self, data: bytes, limits: PictureLimits) -> PreparedFrame:
        self.inside += 1
        self.entered.set()
        await self.release.wait()
        self.inside -= 1
        return prepare_first_frame(data, limits)


async def test_the_number_of_concurrent_decoders_is_limited(
    database: Database, wakes: WakeCounter, clock: FakeClock
) -> None:
    decoders = BlockedDecoders()
    service = VideoService(
        JobStore(database, NINE),
        wake=wakes.wake,
        clock=clock,
        task_lifetime=TASK_LIFETIME,
        prepare_first_frame=decoders.prepare_first_frame,
    )
    attachments = [Attachment(picture()) for _ in range(5)]
    orders = [asyncio.create_task(service.accept(MEMBER, one.read, prompt="a fox")) for one in attachments]
    while not all(one.fetched for one in attachments):
        await asyncio.sleep(0)
    await service.allowance(MEMBER)
    assert decoders.inside == MAX_DECODERS
    decoders.release.set()
    await asyncio.gather(*orders)


async def test_a_failed_or_cancelled_decoder_frees_its_slot(
    database: Database, wakes: WakeCounter, clock: FakeClock
) -> None:
    decoders = BlockedDecoders()
    service = VideoService(
        JobStore(database, NINE),
        wake=wakes.wake,
        clock=clock,
        task_lifetime=TASK_LIFETIME,
        prepare_first_frame=decoders.prepare_first_frame,
    )
    for _ in range(MAX_DECODERS + 1):
        decoders.entered.clear()
        given_up = asyncio.create_task(service.accept(MEMBER, Attachment(picture()).read, prompt="a fox"))
        await decoders.entered.wait()
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
    decoders.release.set()
    for _ in range(MAX_DECODERS + 1):
        with pytest.raises(PictureRefused):
            await service.accept(MEMBER, Attachment(b"no picture").read, prompt="a fox")
    await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox")


async def test_the_allowance_says_when_the_next_video_unlocks(service: VideoService, clock: FakeClock) -> None:
    await fill_quota(service)
    clock.move(hours=1)
    quota = await service.allowance(MEMBER)
    assert (len(quota.usage.charged_at), quota.usage.running) == (2, 2)
    assert (quota.limits.videos_per_window.value, quota.limits.max_active.value) == (2, 2)
    assert quota.usage.next_available_at(quota.limits) == NOW + timedelta(hours=24)


@pytest.mark.parametrize(("allowed", "gets"), [("480P,720P", Resolution.P720), ("480P", Resolution.P480)])
async def test_an_order_without_a_resolution_gets_the_best_that_is_allowed(
    service: VideoService, database: Database, allowed: str, gets: Resolution
) -> None:
    async with database.write() as connection:
        resolutions = frozenset(Resolution(name) for name in allowed.split(","))
        columns = guild_settings.settings_columns(GuildSettings(allowed_resolutions=resolutions))
        await guild_settings.write(connection, MEMBER.guild_id, columns)
    accepted = await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox")
    assert accepted.job.order.resolution is gets


async def test_if_approval_is_required_a_job_awaits_a_moderator(
    service: VideoService, database: Database, wakes: WakeCounter
) -> None:
    await set_guild(database, approval_required=True)
    accepted = await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox")
    assert accepted.job.state is JobState.AWAITING
    assert wakes.count == 1


async def test_variations_take_one_picture_and_one_wake(service: VideoService, wakes: WakeCounter) -> None:
    attachment = Attachment(picture())

    accepted = await service.accept(MEMBER, attachment.read, prompt="a fox", seed=7, variations=2)

    assert [job.order.seed for job in accepted.jobs] == [7, 8]
    assert accepted.jobs == (accepted.job, *accepted.others)
    assert accepted.allowance is not None
    assert accepted.allowance.usage.left(accepted.allowance.limits) == 0
    assert (attachment.fetched, wakes.count) == (1, 1)


async def test_more_variations_than_fit_are_refused_before_the_picture_is_fetched(
    service: VideoService, store: JobStore
) -> None:
    attachment = Attachment(b"not a picture")

    with pytest.raises(QuotaRefused) as refused:
        await service.accept(MEMBER, attachment.read, prompt="a fox", variations=3)

    assert isinstance(refused.value.reason, FewerFit)
    assert refused.value.reason.fits == 2
    assert attachment.fetched == 0
    assert await store.recent(10, 1, 10) == []


async def test_variations_that_are_being_accepted_count_against_the_next_order(service: VideoService) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow_picture() -> bytes:
        arrived.set()
        await go_on.wait()
        return picture()

    first = asyncio.create_task(service.accept(MEMBER, slow_picture, prompt="a fox", variations=2))
    await arrived.wait()
    with pytest.raises(QuotaRefused):
        await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox")
    go_on.set()

    assert len((await first).jobs) == 2


async def test_all_variations_are_cancelled_at_once_and_nobody_elses(service: VideoService) -> None:
    job, other = (await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox", variations=2)).jobs

    with pytest.raises(NotPossible):
        await service.cancel_together(job.id, replace(MEMBER, user_id=2), even_if_paid=True)
    result = await service.cancel_together(other.id, MEMBER, even_if_paid=False)
    assert (result.free, result.flagged, result.paid) == (2, 0, 0)
    with pytest.raises(NotPossible):
        await service.cancel_together(job.id, MEMBER, even_if_paid=False)
