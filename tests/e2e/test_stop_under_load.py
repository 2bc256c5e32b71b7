"""A stop with jobs in every state, and the next start: one POST, one status and one video for each job."""

import asyncio
import io
import signal
from collections import Counter

import pytest
from PIL import Image
from sqlalchemy import func, select

from bot.domain.jobs import Frame, JobState, NewJob, Order, new_job_id
from bot.domain.policy import Requester
from bot.operations.clock import utc_now
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.schema import jobs
from tests.discord_server import Message
from tests.e2e.test_processes import BotProcesses, processes
from tests.faulty_gateway import Ending, Fault, Route
from tests.harness import ROOMY
from tests.store.factories import set_guild

__all__ = ["processes"]

AWAITING_APPROVAL, CANCELLED = 10, 5
SLOTS, FINISHED = 10, 14
HANGING = Fault(ending=Ending.HANG)
ENVIRONMENT = {
    "UPSTREAM_MAX_RUNNING": str(SLOTS),
    "UPSTREAM_SUBMITS_PER_SECOND": "100",
    "QUEUE_MAX": "1000",
    "SHUTDOWN_GRACE_SECONDS": "2",
}
WITHIN_S = 100.0


def a_frame() -> Frame:
    file = io.BytesIO()
    Image.new("RGB", (640, 480), "teal").save(file, "JPEG")
    return Frame(file.getvalue(), "image/jpeg")


async def order_all(processes: BotProcesses, number_of_jobs: int) -> list[str]:
    """Stores that many orders and returns their ids.

    The first ones wait for approval, the next ones are cancelled.
    """
    ids, frame = [], a_frame()
    guild_id, channel_id = processes.discord.guild.id, processes.discord.channel.id
    async with processes.database() as database:
        store = JobStore(database, ROOMY)
        for number in range(number_of_jobs):
            if number in {0, AWAITING_APPROVAL}:
                await set_guild(store, guild_id, approval_required=number == 0, log_channel_id=channel_id)
            new = NewJob(new_job_id(), guild_id, channel_id, number % 20 + 1, Order(f"order {number}"))
            await store.add(new, frame, Requester(guild_id, channel_id, new.user_id), utc_now())
            ids.append(new.id)
            if AWAITING_APPROVAL <= number < AWAITING_APPROVAL + CANCELLED:
                await store.cancel(new.id, utc_now(), even_if_paid=False)
    return ids


async def states(processes: BotProcesses) -> Counter[str]:
    async with processes.database() as database:
        return await states_in(database)


async def states_in(database: Database) -> Counter[str]:
    async with database.read() as connection:
        return Counter(await connection.scalars(select(jobs.c.state)))


async def wait_until_delivered(processes: BotProcesses, count: int) -> None:
    """Returns once `count` videos are delivered. Raises: TimeoutError, with the number of jobs in each state."""
    found: Counter[str] = Counter()
    async with processes.database() as database:
        try:
            async with asyncio.timeout(WITHIN_S):
                while (found := await states_in(database))[JobState.DELIVERED] < count:
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            raise TimeoutError(f"the jobs are in the states {found}") from error


async def wait_until_slots_are_taken(processes: BotProcesses) -> None:
    """Returns once a job runs in every slot except the one whose create request hangs."""
    async with processes.database() as database, asyncio.timeout(WITHIN_S):
        while (await states_in(database))[JobState.RUNNING] < SLOTS - 1:
            await asyncio.sleep(0.05)


async def lease_count(processes: BotProcesses) -> int:
    async with processes.database() as database, database.read() as connection:
        leased = select(func.count()).select_from(jobs).where(jobs.c.lease_token.is_not(None))
        return int((await connection.execute(leased)).scalar_one())


@pytest.mark.timeout(240)
@pytest.mark.full
@pytest.mark.parametrize("number_of_jobs", [70, 200])
async def test_a_stop_under_load_submits_no_job_twice(processes: BotProcesses, number_of_jobs: int) -> None:
    ids = await order_all(processes, number_of_jobs)
    processes.upstream.fault(Route.CREATE, HANGING)
    processes.upstream.fault(Route.RESULT, HANGING, times=3)
    async with processes.start("run", **ENVIRONMENT) as process:
        async with asyncio.timeout(WITHIN_S):
            while len(processes.upstream.tasks) < FINISHED + SLOTS:
                await asyncio.sleep(0.005)
        processes.upstream.task_seconds = 3600
        await processes.discord.state.until(lambda: len(videos(processes)) >= FINISHED - 3, timeout_s=WITHIN_S)
        await wait_until_slots_are_taken(processes)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            _, log = await process.communicate()
    assert process.returncode == 0, log.decode()[-2000:]
    assert b"Traceback" not in log, log.decode()[-2000:]
    assert b"jobs in progress; they continue" in log, "a hanging stage gets the grace period and no more"

    left = await states(processes)
    assert {JobState.QUEUED, JobState.RUNNING, JobState.DELIVERING, JobState.DELIVERED} <= set(left), left
    assert (left[JobState.AWAITING], left[JobState.CANCELLED]) == (AWAITING_APPROVAL, CANCELLED), left
    assert (left[JobState.SUBMITTING], left[JobState.FAILED]) == (1, 0), left
    assert await lease_count(processes) == 0

    processes.upstream.task_seconds = 0
    expected = number_of_jobs - AWAITING_APPROVAL - CANCELLED - 1
    async with processes.start("run", **ENVIRONMENT) as process:
        await wait_until_delivered(processes, expected)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            await process.communicate()

    end = {JobState.DELIVERED: expected, JobState.AWAITING: AWAITING_APPROVAL, JobState.CANCELLED: CANCELLED}
    assert await states(processes) == Counter(end | {JobState.FAILED: 1}), "only the interrupted submission failed"
    asked = Counter(create.body["input"][0]["params"]["input"]["prompt"] for create in processes.upstream.received)
    assert asked == Counter(f"order {number}" for number in range(AWAITING_APPROVAL + CANCELLED, number_of_jobs))
    shown = Counter(
        (message.has_video, job_id)
        for message in processes.discord.messages()
        for job_id in ids[AWAITING_APPROVAL:]
        if any(job_id in custom_id for custom_id in message.custom_ids)
    )
    assert set(shown.values()) == {1}, "each has one message that says how it ended"
    assert (
        len({job_id for is_video, job_id in shown if is_video} & set(ids[AWAITING_APPROVAL + CANCELLED :]))
        == expected
    )


def videos(processes: BotProcesses) -> list[Message]:
    """The messages with a video."""
    return [message for message in processes.discord.messages() if message.has_video]
