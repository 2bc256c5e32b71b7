"""The sessions of stopped processes are looked for again and again."""

import asyncio

import pytest

from bot.domain.errors import StoreError
from bot.worker.stopped_sessions import StoppedSessionsWatch


async def test_they_are_ended_through_outages_until_the_worker_stops(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[int | StoreError] = [0, StoreError("the server is down"), 2]
    looked = 0

    async def end_stopped() -> int:
        nonlocal looked
        answer = answers[looked]
        looked += 1
        if looked == len(answers):
            watch.stop()
        if isinstance(answer, StoreError):
            raise answer
        return answer

    watch = StoppedSessionsWatch(end_stopped, interval_s=0)
    async with asyncio.timeout(60):
        await watch.run()
    assert looked == len(answers)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "2 database sessions were ended" in caplog.text
