import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import pytest

from bot.web import health
from bot.web.health import Health, PartHealth, PartStatus
from bot.web.server import serving


@dataclass
class Part:
    """A part that is as the test says."""

    found: PartHealth = field(default_factory=lambda: PartHealth(PartStatus.OK))
    error: Exception | None = None
    asked: int = 0
    blocks: asyncio.Event | None = None

    async def check(self) -> PartHealth:
        self.asked += 1
        if self.blocks is not None:
            await self.blocks.wait()
        if self.error is not None:
            raise self.error
        return self.found


@dataclass
class Time:
    now_s: float = 100.0
    clock: Callable[[], float] = field(init=False)

    def __post_init__(self) -> None:
        self.clock = lambda: self.now_s


async def get(path: str, health_: Health) -> tuple[int, object]:
    async with (
        serving(health.routes(health_), host="127.0.0.1", port=0) as port,
        aiohttp.request("GET", f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, await response.json()


async def test_a_process_whose_parts_all_fail_is_still_alive() -> None:
    broken = Health({"database": Part(error=OSError()).check})
    assert await get("/healthz", broken) == (200, {"status": "alive"})


async def test_a_process_is_ready_while_no_part_fails() -> None:
    degraded = Part(PartHealth(PartStatus.DEGRADED, "vtrix: closed"))
    checked = Health({"database": Part().check, "providers": degraded.check})
    assert await get("/readyz", checked) == (
        200,
        {
            "status": "ready",
            "parts": {
                "database": {"status": "ok"},
                "providers": {"status": "degraded", "reason": "vtrix: closed"},
            },
        },
    )


async def test_one_part_that_fails_makes_it_not_ready() -> None:
    failed = Part(PartHealth(PartStatus.FAILED, "not logged in"))
    status, body = await get("/readyz", Health({"database": Part().check, "discord": failed.check}))
    assert status == 503
    assert body == {
        "status": "not ready",
        "parts": {"database": {"status": "ok"}, "discord": {"status": "failed", "reason": "not logged in"}},
    }


async def test_what_a_part_raises_is_in_the_log_once_and_never_in_the_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    part, time = Part(error=OSError("no route to db.example as zoetrope")), Time()
    checked = Health({"database": part.check}, clock=time.clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            _, body = await get("/readyz", checked)
            assert body == {
                "status": "not ready",
                "parts": {"database": {"status": "failed", "reason": "it fails: see the log"}},
            }
            time.now_s += health.FRESH_S
    assert [record.getMessage() for record in caplog.records] == [
        "database is not ready: no route to db.example as zoetrope"
    ]
    assert part.asked == 3


async def test_a_part_that_hangs_fails_and_keeps_no_other_from_answering() -> None:
    hanging = Part(blocks=asyncio.Event())
    report = await Health({"database": hanging.check, "discord": Part().check}, timeout_s=0.01).report()
    assert report == {
        "database": PartHealth(PartStatus.FAILED, "no answer in time"),
        "discord": PartHealth(PartStatus.OK),
    }


async def test_probes_within_seconds_and_at_the_same_time_ask_once() -> None:
    part, time = Part(), Time()
    checked = Health({"database": part.check}, clock=time.clock)
    ask: Callable[[], Awaitable[object]] = checked.report
    await asyncio.gather(*(ask() for _ in range(20)))
    assert part.asked == 1
    time.now_s += health.FRESH_S - 0.1
    await ask()
    assert part.asked == 1
    time.now_s += 0.1
    await ask()
    assert part.asked == 2
