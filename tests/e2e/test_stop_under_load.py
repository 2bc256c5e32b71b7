"""A stop with two hundred jobs in all states, and the start after it: one POST, one status and one video each."""

import asyncio
import io
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import func, select

from bot.clock import utc_now
from bot.demo.gateway import LocalGateway
from bot.jobs import Frame, JobState, NewJob, Order, new_job_id
from bot.rules import Asker
from bot.store.jobs import JobStore
from bot.store.schema import jobs
from tests.discord_server import DiscordServer
from tests.e2e.test_processes import KEY, House
from tests.house import ROOMY

JOBS = 200
ENVIRONMENT = {"UPSTREAM_MAX_RUNNING": "40", "UPSTREAM_SUBMITS_PER_SECOND": "100", "QUEUE_MAX": "1000"}
WITHIN_S = 100.0


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with (
        DiscordServer() as discord,
        LocalGateway(folder=tmp_path / "upstream", api_key=KEY, render=False) as upstream,
    ):
        yield House(tmp_path, discord, upstream)


def a_frame() -> Frame:
    file = io.BytesIO()
    Image.new("RGB", (640, 480), "teal").save(file, "JPEG")
    return Frame(file.getvalue(), "image/jpeg")


async def order_all(house: House) -> set[str]:
    """As many orders as members could give, written as the service writes them."""
    ids, frame = set(), a_frame()
    guild_id, channel_id = house.discord.guild.id, house.discord.channel.id
    async with house.database() as database:
        store = JobStore(database, ROOMY)
        for number in range(JOBS):
            new = NewJob(new_job_id(), guild_id, channel_id, number % 20 + 1, Order(f"order {number}"))
            await store.add(new, frame, Asker(guild_id, channel_id, new.user_id), utc_now())
            ids.add(new.id)
    return ids


async def states(house: House) -> Counter[str]:
    async with house.database() as database, database.read() as connection:
        return Counter(await connection.scalars(select(jobs.c.state)))


async def leases(house: House) -> int:
    async with house.database() as database, database.read() as connection:
        held = select(func.count()).select_from(jobs).where(jobs.c.lease_token.is_not(None))
        return int((await connection.execute(held)).scalar_one())


@pytest.mark.timeout(240)
async def test_a_stop_under_load_hands_nothing_over_twice(house: House) -> None:
    ids = await order_all(house)
    house.upstream.task_seconds = 3
    async with house.process("run", **ENVIRONMENT) as process:
        await house.discord.world.until(lambda: len(house._videos()) >= 10, timeout_s=WITHIN_S)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            _, log = await process.communicate()
    assert process.returncode == 0, log.decode()[-2000:]
    assert b"Traceback" not in log, log.decode()[-2000:]

    left = await states(house)
    assert {JobState.QUEUED, JobState.RUNNING, JobState.DELIVERED} <= set(left), left
    assert left[JobState.SUBMITTING] == left[JobState.FAILED] == 0, left
    assert await leases(house) == 0

    house.upstream.task_seconds = 0
    async with house.process("run", **ENVIRONMENT) as process:
        await house.discord.world.until(lambda: len(house._videos()) >= JOBS, timeout_s=WITHIN_S)
        while (await states(house))[JobState.DELIVERED] < JOBS:
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            await process.communicate()

    asked = Counter(create.body["input"][0]["params"]["input"]["prompt"] for create in house.upstream.received)
    assert asked == Counter(f"order {number}" for number in range(JOBS))
    shown = Counter(
        (bool(message.attachments), job_id)
        for message in house.discord.messages()
        for job_id in ids
        if any(job_id in custom_id for custom_id in message.custom_ids)
    )
    assert shown == Counter((is_video, job_id) for is_video in (False, True) for job_id in ids)
