"""What a member chose for all their videos applies to what an order leaves open, and never against a rule."""

from datetime import timedelta

import pytest

from bot.domain.errors import RuleRefused
from bot.domain.jobs import UNLABELLED, Job, PictureLabels, Resolution
from bot.domain.member_settings import MemberSettings
from bot.services.member_settings import MemberSettingsService
from bot.services.videos import VideoService
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.member_settings import MemberSettingsStore
from tests.fakes import TASK_LIFETIME, FakeClock, prepare_frame_in_thread
from tests.services.videos.conftest import MEMBER, TWO, Attachment, picture, set_guild


@pytest.fixture
def settings(database: Database, clock: FakeClock) -> MemberSettingsService:
    return MemberSettingsService(MemberSettingsStore(database), clock)


@pytest.fixture
def choosing(database: Database, clock: FakeClock, settings: MemberSettingsService) -> VideoService:
    return VideoService(
        JobStore(database, TWO),
        wake=lambda: None,
        clock=clock,
        task_lifetime=TASK_LIFETIME,
        prepare_first_frame=prepare_frame_in_thread,
        settings_of=settings.of,
    )


async def order(service: VideoService, labels: PictureLabels = UNLABELLED, **options: object) -> Job:
    read = Attachment(picture()).read
    return (await service.accept(MEMBER, read, picture=labels, prompt="a fox", **options)).job  # type: ignore[arg-type]


async def test_an_order_takes_from_the_settings_what_it_leaves_open(
    choosing: VideoService, settings: MemberSettingsService
) -> None:
    await settings.change(MEMBER.user_id, resolution=Resolution.P480, prompt_extend=False, watermark=True)

    job = await order(choosing, resolution=None, prompt_extend=None)

    assert (job.order.resolution, job.order.prompt_extend, job.order.watermark) == (Resolution.P480, False, True)


async def test_what_an_order_says_comes_before_the_settings(
    choosing: VideoService, settings: MemberSettingsService
) -> None:
    await settings.change(MEMBER.user_id, resolution=Resolution.P480, prompt_extend=False, watermark=True)

    job = await order(choosing, resolution="720P", prompt_extend=True, watermark=False)

    assert (job.order.resolution, job.order.prompt_extend, job.order.watermark) == (Resolution.P720, True, False)


async def test_without_settings_an_order_has_the_usual_options(choosing: VideoService) -> None:
    job = await order(choosing)

    assert (job.order.resolution, job.order.prompt_extend, job.order.watermark) == (Resolution.P720, True, False)


async def test_a_default_resolution_that_the_server_does_not_allow_is_not_used(
    choosing: VideoService, settings: MemberSettingsService, database: Database
) -> None:
    await settings.change(MEMBER.user_id, resolution=Resolution.P720)
    await set_guild(database, allowed_resolutions=["480P"])

    assert (await order(choosing)).order.resolution is Resolution.P480
    with pytest.raises(RuleRefused):
        await order(choosing, resolution="720P")


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (PictureLabels("cat.jpg", "a cat"), "SPOILER_cat.jpg"),
        (PictureLabels("SPOILER_cat.jpg", "a cat"), "SPOILER_cat.jpg"),
        (UNLABELLED, "SPOILER_"),
        (PictureLabels("c" * 260), "SPOILER_" + "c" * 252),
    ],
)
async def test_videos_are_spoilers_if_their_member_wants_that(
    choosing: VideoService, settings: MemberSettingsService, labels: PictureLabels, name: str
) -> None:
    await settings.change(MEMBER.user_id, spoilers=True)

    job = await order(choosing, labels)

    assert (job.picture_name, job.picture_alt_text) == (name, labels.alt_text)
    assert job.is_spoiler


async def test_pictures_keep_their_own_mark_without_that_setting(choosing: VideoService) -> None:
    assert (await order(choosing, PictureLabels("cat.jpg"))).picture_name == "cat.jpg"


async def test_the_settings_know_when_they_were_changed(settings: MemberSettingsService, clock: FakeClock) -> None:
    changed = await settings.change(MEMBER.user_id, pings=False)

    assert changed == MemberSettings(pings=False, changed_at=clock.now)
    assert changed.was_changed_since(clock.now - timedelta(seconds=1))
    assert not changed.was_changed_since(clock.now + timedelta(seconds=1))
