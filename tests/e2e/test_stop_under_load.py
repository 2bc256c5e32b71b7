"""A stop with two hundred jobs in all states, and the start after it: one POST, one status and one video each."""

import asyncio
import io
import signal
from collections import Counter

import pytest
from PIL import Image
from sqlalchemy import func, select

from bot.demo.faults import Ending, Fault, Route
from bot.domain.jobs import Frame, JobState, NewJob, Order, new_job_id
from bot.domain.policy import Requester
from bot.operations.clock import utc_now
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.schema import jobs
from tests.discord_server import Message
from tests.e2e.test_processes import OperatorState, house
from tests.harness import ROOMY
from tests.store.factories import set_guild

__all__ = ["house"]

JOBS, ASKED_ABOUT, CANCELLED = 200, 10, 5
HANGING = Fault(ending=Ending.HANG)
ENVIRONMENT = {
    "UPSTREAM_MAX_RUNNING": "40",
    "UPSTREAM_SUBMITS_PER_SECOND": "100",
    "QUEUE_MAX": "1000",
    "SHUTDOWN_GRACE_SECONDS": "5",
}
WITHIN_S = 100.0


def a_frame() -> Frame:
    file = io.BytesIO()
    Image.new("RGB", (640, 480), "teal").save(file, "JPEG")
    return Frame(file.getvalue(), "image/jpeg")


async def order_all(house: OperatorState) -> list[str]:
    """As many orders as members could give, written as the service writes them.

    The first ones wait for moderators, the next ones are cancelled.
    """
    ids, frame = [], a_frame()
    guild_id, channel_id = house.discord.guild.id, house.discord.channel.id
    async with house.database() as database:
        store = JobStore(database, ROOMY)
        for number in range(JOBS):
            if number in {0, ASKED_ABOUT}:
                await set_guild(store, guild_id, approval_required=number == 0, log_channel_id=channel_id)
            new = NewJob(new_job_id(), guild_id, channel_id, number % 20 + 1, Order(f"order {number}"))
            await store.add(new, frame, Requester(guild_id, channel_id, new.user_id), utc_now())
            ids.append(new.id)
            if ASKED_ABOUT <= number < ASKED_ABOUT + CANCELLED:
                await store.cancel(new.id, utc_now(), paid_too=False)
    return ids


async def states(house: OperatorState) -> Counter[str]:
    async with house.database() as database:
        return await states_in(database)


async def states_in(database: Database) -> Counter[str]:
    async with database.read() as connection:
        return Counter(await connection.scalars(select(jobs.c.state)))


async def all_made(house: OperatorState, made: int) -> None:
    """Returns once so many videos are delivered. Raises: TimeoutError, with how the jobs stand."""
    found: Counter[str] = Counter()
    async with house.database() as database:
        try:
            async with asyncio.timeout(WITHIN_S):
                while (found := await states_in(database))[JobState.DELIVERED] < made:
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            raise TimeoutError(f"the jobs stand at {found}") from error


async def leases(house: OperatorState) -> int:
    async with house.database() as database, database.read() as connection:
        held = select(func.count()).select_from(jobs).where(jobs.c.lease_token.is_not(None))
        return int((await connection.execute(held)).scalar_one())


@pytest.mark.timeout(240)
async def test_a_stop_under_load_hands_nothing_over_twice(house: OperatorState) -> None:
    ids = await order_all(house)
    house.upstream.task_seconds = 3
    house.upstream.fault(Route.CREATE, HANGING)
    house.upstream.fault(Route.RESULT, HANGING, times=3)
    async with house.process("run", **ENVIRONMENT) as process:
        await house.discord.world.until(lambda: len(videos(house)) >= 10, timeout_s=WITHIN_S)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            _, log = await process.communicate()
    assert process.returncode == 0, log.decode()[-2000:]
    assert b"Traceback" not in log, log.decode()[-2000:]
    assert b"steps under way; they go on" in log, "what hangs gets its grace and no more"

    left = await states(house)
    assert {JobState.QUEUED, JobState.RUNNING, JobState.DELIVERING, JobState.DELIVERED} <= set(left), left
    assert (left[JobState.AWAITING], left[JobState.CANCELLED]) == (ASKED_ABOUT, CANCELLED), left
    assert (left[JobState.SUBMITTING], left[JobState.FAILED]) == (1, 0), left
    assert await leases(house) == 0

    house.upstream.task_seconds = 0
    made = JOBS - ASKED_ABOUT - CANCELLED - 1
    async with house.process("run", **ENVIRONMENT) as process:
        await all_made(house, made)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            await process.communicate()

    end = {JobState.DELIVERED: made, JobState.AWAITING: ASKED_ABOUT, JobState.CANCELLED: CANCELLED}
    assert await states(house) == Counter(end | {JobState.FAILED: 1}), "only the order that was cut off failed"
    asked = Counter(create.body["input"][0]["params"]["input"]["prompt"] for create in house.upstream.received)
    assert asked == Counter(f"order {number}" for number in range(ASKED_ABOUT + CANCELLED, JOBS))
    shown = Counter(
        (bool(message.attachments), job_id)
        for message in house.discord.messages()
        for job_id in ids
        if any(job_id in custom_id for custom_id in message.custom_ids)
    )
    assert sorted(shown.values())[-2:] == [1, 2], "one that failed has its note beside its status"
    assert len({job_id for is_video, job_id in shown if is_video} & set(ids[ASKED_ABOUT + CANCELLED :])) == made


def videos(house: OperatorState) -> list[Message]:
    """The messages with a video; a moderators' card has a picture."""
    return [
        message
        for message in house.discord.messages()
        if any(held.upload.data[4:8] == b"ftyp" for held in message.attachments)
    ]
