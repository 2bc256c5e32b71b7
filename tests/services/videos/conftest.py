"""The video service with a store, and a member's attachment."""

from datetime import timedelta
from io import BytesIO

import pytest
from PIL import Image

from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import Job, JobState
from bot.domain.outcomes import JobUpdate, MoveTo, Reschedule
from bot.domain.policy import Requester
from bot.services.videos import VideoService
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.jobs.job_store import JobStore
from tests.fakes import NOW, TASK_LIFETIME, FakeClock, prepare_frame_in_thread
from tests.providers_asked import CATALOG, vtrix

MEMBER = Requester(guild_id=10, channel_id=100, user_id=1)
LEASE = timedelta(minutes=1)
TWO = OperatorDefaults(catalog=CATALOG, limits=LimitOverrides(videos_per_window=2, max_active=2, cooldown_s=0))


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
        JobStore(database, TWO),
        wake=wakes.wake,
        clock=clock,
        task_lifetime=TASK_LIFETIME,
        prepare_first_frame=prepare_frame_in_thread,
    )


async def fill_quota(service: VideoService) -> list[Job]:
    return [(await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox")).job for _ in range(2)]


async def move_to_running(store: JobStore, job: Job) -> None:
    [greeted] = await store.claim_due(NOW, 1, dict.fromkeys(JobState, LEASE))
    await store.apply(greeted, Reschedule(None), NOW)
    submitting = await store.claim_queued(NOW, vtrix(99), LEASE)
    assert submitting is not None
    assert submitting.id == job.id
    await store.apply(submitting, MoveTo(JobState.RUNNING, JobUpdate(upstream_id="task-1", submitted_at=NOW)), NOW)


async def state(store: JobStore, job: Job) -> JobState:
    found = await store.get(job.id)
    assert found is not None
    return found.state


async def set_guild(database: Database, **columns: object) -> None:
    async with database.write() as connection:
        await guild_settings.write(connection, MEMBER.guild_id, columns)
