import asyncio
import resource
from datetime import timedelta
from io import BytesIO

import pytest
from PIL import Image
from sqlalchemy import insert

from bot.domain.errors import (
    NotPossible,
    OrderRefused,
    PictureRefused,
    Problem,
    QuotaRefused,
    RuleRefused,
    UserError,
)
from bot.domain.guilds import GuildSettings, LimitOverrides, OperatorDefaults
from bot.domain.jobs import (
    CancelResult,
    Frame,
    Job,
    JobState,
    JobUpdate,
    MoveTo,
    NewJob,
    Order,
    Reschedule,
    Resolution,
    new_job_id,
)
from bot.domain.policy import Consequence, PromptBlocked, Requester, RuleName
from bot.domain.quotas import LimitName
from bot.media.first_frame import PictureChanges, PreparedFrame, prepare_first_frame
from bot.services.videos import MAX_DECODERS, VideoService
from bot.store.engine import Database
from bot.store.guilds import bans, guild_settings
from bot.store.jobs.job_store import JobStore
from bot.store.schema import blocked_terms
from tests.fakes import FRAME, NOW, FakeClock, prepare_frame_in_thread
from tests.store.factories import notified_texts

MEMBER = Requester(guild_id=10, channel_id=100, user_id=1)
LEASE = timedelta(minutes=1)
TWO = OperatorDefaults(limits=LimitOverrides(videos_per_window=2, max_active=2, cooldown_s=0))
NINE = OperatorDefaults(limits=LimitOverrides(videos_per_window=9, max_active=9, cooldown_s=0))


def picture(width: int = 640, height: int = 480, color: str = "teal") -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), color).save(file, "PNG")
    return file.getvalue()


class Attachment:
    """A picture as Discord hands it out; notes whether it was fetched."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.fetched = 0

    async def read(self) -> bytes:
        self.fetched += 1
        return self._data


class WakeCounter:
    """Notes how often the worker was woken."""

    def __init__(self) -> None:
        self.count = 0

    def wake(self) -> None:
        self.count += 1


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def wakes() -> WakeCounter:
    return WakeCounter()


@pytest.fixture
def database(store: JobStore) -> Database:
    return store._db


@pytest.fixture
def service(database: Database, wakes: WakeCounter, clock: FakeClock) -> VideoService:
    return VideoService(
        JobStore(database, TWO), wake=wakes.wake, clock=clock, prepare_first_frame=prepare_frame_in_thread
    )


async def fill_quota(service: VideoService) -> list[Job]:
    return [(await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox")).job for _ in range(2)]


async def move_to_running(store: JobStore, job: Job) -> None:
    [greeted] = await store.claim_due(NOW, 1, dict.fromkeys(JobState, LEASE))
    await store.apply(greeted, Reschedule(None), NOW)
    submitting = await store.claim_queued(NOW, 99, timedelta(0), LEASE)
    assert submitting is not None
    assert submitting.id == job.id
    await store.apply(submitting, MoveTo(JobState.RUNNING, JobUpdate(upstream_id="task-1", submitted_at=NOW)), NOW)


async def state(store: JobStore, job: Job) -> JobState:
    found = await store.get(job.id)
    assert found is not None
    return found.state


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
            JobStore(database, TWO), wake=wakes.wake, clock=clock, prepare_first_frame=prepare_frame_in_thread
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

    async def prepare_first_frame(self, data: bytes) -> PreparedFrame:
        self.inside += 1
        self.entered.set()
        await self.release.wait()
        self.inside -= 1
        return prepare_first_frame(data)


async def test_the_number_of_concurrent_decoders_is_limited(
    database: Database, wakes: WakeCounter, clock: FakeClock
) -> None:
    decoders = BlockedDecoders()
    service = VideoService(
        JobStore(database, NINE), wake=wakes.wake, clock=clock, prepare_first_frame=decoders.prepare_first_frame
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
        JobStore(database, NINE), wake=wakes.wake, clock=clock, prepare_first_frame=decoders.prepare_first_frame
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


async def test_a_picture_is_decoded_in_its_own_process(
    database: Database, wakes: WakeCounter, clock: FakeClock
) -> None:
    service = VideoService(JobStore(database, TWO), wake=wakes.wake, clock=clock)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime > before


async def test_the_allowance_says_when_the_next_video_unlocks(service: VideoService, clock: FakeClock) -> None:
    await fill_quota(service)
    clock.move(hours=1)
    quota = await service.allowance(MEMBER)
    assert (len(quota.usage.charged_at), quota.usage.running) == (2, 2)
    assert (quota.limits.videos_per_window.value, quota.limits.max_active.value) == (2, 2)
    assert quota.usage.next_available_at(quota.limits) == NOW + timedelta(hours=24)


LOG_CHANNEL = 555


async def set_guild(database: Database, **columns: object) -> None:
    async with database.write() as connection:
        await guild_settings.write(connection, MEMBER.guild_id, columns)


async def log_channel_texts(database: Database) -> list[str]:
    """The notifications that are queued for the log channel."""
    return await notified_texts(database)


async def refusal(
    service: VideoService, requester: Requester = MEMBER, prompt: str = "a fox"
) -> QuotaRefused | RuleRefused:
    with pytest.raises(UserError) as caught:
        await service.accept(requester, Attachment(picture()).read, prompt=prompt)
    assert isinstance(caught.value, (QuotaRefused, RuleRefused))
    return caught.value


async def test_a_refusal_is_reported_in_the_log_channel(
    service: VideoService, database: Database, wakes: WakeCounter
) -> None:
    await set_guild(database, log_channel_id=LOG_CHANNEL)
    await fill_quota(service)
    await refusal(service)
    [text] = await log_channel_texts(database)
    assert "<@1> asked for a video in <#100> and was refused: they already have as many videos" in text
    assert wakes.count == 3


async def test_the_same_refusal_is_reported_once_an_hour(
    service: VideoService, database: Database, wakes: WakeCounter, clock: FakeClock
) -> None:
    await set_guild(database, log_channel_id=LOG_CHANNEL)
    await fill_quota(service)
    for _ in range(3):
        await refusal(service)
    assert len(await log_channel_texts(database)) == 1
    assert wakes.count == 3
    await set_guild(database, paused=True)
    await refusal(service)
    assert len(await log_channel_texts(database)) == 2
    clock.move(hours=1)
    await refusal(service)
    assert len(await log_channel_texts(database)) == 3


async def test_without_a_log_channel_a_refusal_writes_nothing(
    service: VideoService, database: Database, wakes: WakeCounter
) -> None:
    await fill_quota(service)
    await refusal(service)
    assert await log_channel_texts(database) == []
    assert wakes.count == 2


async def test_a_paused_server_refuses_before_the_picture_is_fetched(
    service: VideoService, database: Database
) -> None:
    await set_guild(database, paused=True)
    attachment = Attachment(picture())
    with pytest.raises(RuleRefused) as caught:
        await service.accept(MEMBER, attachment.read, prompt="a fox")
    assert caught.value.rule == RuleName.PAUSED
    assert attachment.fetched == 0


async def block(database: Database, word: str) -> None:
    async with database.write() as connection:
        await connection.execute(
            insert(blocked_terms).values(guild_id=MEMBER.guild_id, text=word, is_pattern=False)
        )


async def test_the_third_blocked_prompt_pauses_the_member_and_says_until_when(
    service: VideoService, database: Database, clock: FakeClock
) -> None:
    await block(database, "wolf")
    for remaining in (2, 1):
        blocked = (await refusal(service, prompt="a wolf")).reason
        assert isinstance(blocked, PromptBlocked)
        assert (blocked.term, blocked.consequence) == ("wolf", Consequence(remaining=remaining))
    last = (await refusal(service, prompt="a wolf")).reason
    assert isinstance(last, PromptBlocked)
    assert last.consequence.ban is not None
    assert last.consequence.ban.expires_at == NOW + timedelta(days=1)
    banned = await refusal(service)
    assert isinstance(banned, RuleRefused)
    assert banned.rule == RuleName.BANNED
    clock.move(hours=24)
    await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox")


async def test_moderators_see_each_prompt_that_counts_as_a_violation(
    service: VideoService, database: Database
) -> None:
    await set_guild(database, log_channel_id=LOG_CHANNEL)
    await block(database, "wolf")
    for animal in ("wolf", "*grey* wolf"):
        await refusal(service, prompt=f"a {animal}")
    blocked = [text for text in await log_channel_texts(database) if "blocked word" in text]
    assert [text.splitlines()[1] for text in blocked] == ["> a wolf", r"> a \*grey\* wolf"]


async def test_without_a_violation_limit_a_blocked_prompt_is_reported_once_an_hour(
    service: VideoService, database: Database
) -> None:
    await set_guild(database, log_channel_id=LOG_CHANNEL, violation_limit=0)
    await block(database, "wolf")
    for animal in ("wolf", "grey wolf"):
        await refusal(service, prompt=f"a {animal}")
    assert len(await log_channel_texts(database)) == 1


async def test_a_refusal_for_another_reason_does_not_quote_the_prompt(
    service: VideoService, database: Database
) -> None:
    await set_guild(database, log_channel_id=LOG_CHANNEL)
    await fill_quota(service)
    await refusal(service, prompt="a private matter")
    assert "private" not in (await log_channel_texts(database))[0]


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


async def test_other_refusals_are_no_violations(service: VideoService, database: Database) -> None:
    await set_guild(database, violation_limit=1)
    await fill_quota(service)
    refused = await refusal(service)
    assert isinstance(refused, QuotaRefused)
    assert refused.limit == LimitName.MAX_ACTIVE
    async with database.read() as connection:
        assert await bans.active_ban(connection, 10, 1, NOW) is None


async def test_if_approval_is_required_a_job_awaits_a_moderator(
    service: VideoService, database: Database, wakes: WakeCounter
) -> None:
    await set_guild(database, approval_required=True)
    accepted = await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox")
    assert accepted.job.state is JobState.AWAITING
    assert wakes.count == 1


async def test_the_recent_jobs_are_the_members_own(service: VideoService, store: JobStore) -> None:
    [first, second] = await fill_quota(service)
    other = NewJob(new_job_id(), 10, 100, 2, Order("a hare runs"))
    await store.add(other, FRAME, Requester(10, 100, 2), NOW)
    assert {job.id for job in await service.recent(10, 1)} == {first.id, second.id}


@pytest.mark.parametrize("stranger", [Requester(10, 100, 2), Requester(11, 100, 1)])
async def test_a_job_of_another_member_or_server_is_refused_like_an_unknown_one(
    service: VideoService, store: JobStore, wakes: WakeCounter, stranger: Requester
) -> None:
    [job, _] = await fill_quota(service)
    with pytest.raises(NotPossible) as foreign:
        await service.cancel(job.id, stranger, even_if_paid=True)
    with pytest.raises(NotPossible) as unknown:
        await service.cancel("no such job", stranger, even_if_paid=True)
    assert foreign.value.reason == unknown.value.reason == Problem.NOT_YOUR_VIDEO
    assert await state(store, job) is JobState.QUEUED
    assert wakes.count == 2


async def test_a_members_own_job_is_found_from_any_channel_of_the_server(service: VideoService) -> None:
    [job, _] = await fill_quota(service)
    assert await service.own_job(job.id, Requester(10, 999, 1)) == job


async def test_cancelling_a_queued_job_is_free_and_wakes_the_worker(
    service: VideoService, store: JobStore, wakes: WakeCounter
) -> None:
    [job, _] = await fill_quota(service)
    assert await service.cancel(job.id, MEMBER, even_if_paid=False) is CancelResult.CANCELLED
    assert await state(store, job) is JobState.CANCELLED
    assert len((await service.allowance(MEMBER)).usage.charged_at) == 1
    assert wakes.count == 3


async def test_a_paid_job_is_cancelled_only_if_the_member_confirms(service: VideoService, store: JobStore) -> None:
    job = (await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox")).job
    await move_to_running(store, job)
    assert await service.cancel(job.id, MEMBER, even_if_paid=False) is CancelResult.PAID
    assert not (await service.own_job(job.id, MEMBER)).cancel_requested
    assert await service.cancel(job.id, MEMBER, even_if_paid=True) is CancelResult.FLAGGED
    assert (await service.own_job(job.id, MEMBER)).cancel_requested
    assert len((await service.allowance(MEMBER)).usage.charged_at) == 1


async def test_an_ended_job_cannot_be_cancelled(service: VideoService) -> None:
    [job, _] = await fill_quota(service)
    await service.cancel(job.id, MEMBER, even_if_paid=False)
    with pytest.raises(NotPossible) as refused:
        await service.cancel(job.id, MEMBER, even_if_paid=True)
    assert refused.value.reason == Problem.VIDEO_ENDED
