"""The picture of what a member has left, which nothing depends on."""

from dataclasses import replace

import pytest

from bot.domain.limits import Allowance, Limit, Origin
from bot.services.videos import VideoService
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from tests.fakes import TASK_LIFETIME, FakeClock, prepare_frame_in_thread
from tests.services.videos.conftest import MEMBER, TWO


class Drawing:
    """Draws, or fails."""

    error: Exception | None = None

    async def draw(self, allowance: Allowance) -> bytes:
        del allowance
        if self.error is not None:
            raise self.error
        return b"a picture"


@pytest.fixture
def drawing() -> Drawing:
    return Drawing()


@pytest.fixture
def service(database: Database, clock: FakeClock, drawing: Drawing) -> VideoService:
    return VideoService(
        JobStore(database, TWO),
        wake=lambda: None,
        clock=clock,
        task_lifetime=TASK_LIFETIME,
        prepare_first_frame=prepare_frame_in_thread,
        draw_quota=drawing.draw,
    )


async def test_a_quota_is_drawn(service: VideoService) -> None:
    assert await service.quota_picture(await service.allowance(MEMBER)) == b"a picture"


@pytest.mark.parametrize("error", [OSError("the process failed"), TimeoutError()])
async def test_a_picture_that_cannot_be_drawn_is_left_out(
    service: VideoService, drawing: Drawing, error: Exception
) -> None:
    drawing.error = error

    assert await service.quota_picture(await service.allowance(MEMBER)) is None


async def test_there_is_no_picture_without_a_limit(service: VideoService) -> None:
    allowance = await service.allowance(MEMBER)
    none = replace(allowance.limits, videos_per_window=Limit(0, Origin.SERVER))

    assert await service.quota_picture(replace(allowance, limits=replace(allowance.limits, exempt=True))) is None
    assert await service.quota_picture(replace(allowance, limits=none)) is None
