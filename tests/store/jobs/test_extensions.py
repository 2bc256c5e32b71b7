"""What a job extends is kept with it, and goes with its member's data."""

import pytest

from bot.domain.errors import QuotaRefused
from bot.domain.extensions import Clip, Extension, ParentMessage
from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import REMOVED, Job, NewJob, Order
from bot.domain.jobs import JobState as State
from bot.domain.member_data import export_document
from bot.domain.outcomes import JobUpdate, MoveTo, Reschedule
from bot.domain.policy import Requester
from bot.store.engine import Database
from bot.store.jobs.extensions import ExtensionStore
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.status_cards import StatusCardStore
from bot.store.privacy.member_data import MemberDataStore
from tests.providers_asked import CATALOG
from tests.store.factories import FRAME, NOW, UNLIMITED, bring_to, claim

MEMBER = Requester(guild_id=10, channel_id=100, user_id=1)
HERE = (MEMBER.guild_id, MEMBER.channel_id, MEMBER.user_id)


async def delivered(store: JobStore, message_id: int = 77) -> Job:
    """A job whose video is in the channel."""
    delivering = await bring_to(store, State.DELIVERING)
    await store.apply(delivering, MoveTo(State.DELIVERED, JobUpdate(result_message_id=message_id)), NOW)
    await store.apply(await claim(store, delivering.id), Reschedule(None), NOW)
    return delivering


async def extended(store: JobStore, parent: Job, job_id: str = "more") -> Job:
    new = NewJob(job_id, *HERE, Order("it goes on"))
    return await store.add(new, FRAME, MEMBER, NOW, extends=Extension(parent.id, 2, 15))


async def test_what_a_job_extends_is_kept_with_it(store: JobStore, database: Database) -> None:
    parent = await delivered(store)
    job = await extended(store, parent)
    extensions = ExtensionStore(database)
    assert await extensions.of(job.id) == Extension(parent.id, 2, 15)
    assert await extensions.of(parent.id) is None
    await extensions.record_clip(await claim(store, job.id), Clip(1, 10))
    assert await extensions.of(job.id) == Extension(parent.id, 1, 10)


async def test_a_worker_that_lost_its_lease_does_not_change_how_long_a_clip_is(
    store: JobStore, database: Database
) -> None:
    job = await extended(store, await delivered(store))
    late = await claim(store, job.id)
    await store.release([late])
    await claim(store, job.id)

    await ExtensionStore(database).record_clip(late, Clip(1, 5))

    found = await ExtensionStore(database).of(job.id)
    assert found is not None
    assert found.pieces == 2


async def test_an_order_that_is_refused_leaves_nothing(database: Database) -> None:
    none = JobStore(database, OperatorDefaults(catalog=CATALOG, limits=LimitOverrides(0, 1, 0)))
    new = NewJob("more", *HERE, Order("it goes on"))
    with pytest.raises(QuotaRefused):
        await none.add(new, FRAME, MEMBER, NOW, extends=Extension("parent", 2, 10))
    assert await ExtensionStore(database).of("more") is None


async def test_a_status_card_knows_the_message_of_the_video_that_its_job_extends(
    store: JobStore, database: Database
) -> None:
    job = await extended(store, await delivered(store))
    assert (await StatusCardStore(database).in_progress()).parents == {job.id: ParentMessage(10, 100, 77)}


async def test_a_status_card_links_to_no_removed_video(store: JobStore, database: Database) -> None:
    await extended(store, await delivered(store, REMOVED))
    assert (await StatusCardStore(database).in_progress()).parents == {}


async def test_what_a_members_videos_extend_is_exported_and_deleted(store: JobStore, database: Database) -> None:
    parent = await delivered(store)
    job = await extended(store, parent)
    data = MemberDataStore(database, UNLIMITED)
    videos = export_document(await data.read(MEMBER.user_id), NOW)["videos"]
    assert {video["id"]: video["extends"] for video in videos} == {job.id: parent.id, parent.id: None}

    await store.cancel(job.id, NOW, even_if_paid=True)
    await store.apply(await claim(store, job.id), Reschedule(None), NOW)
    erasure = await data.request_erasure(MEMBER.user_id, NOW)
    await data.erase(erasure, NOW)
    assert await ExtensionStore(database).of(job.id) is None
