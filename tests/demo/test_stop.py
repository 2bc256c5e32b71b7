"""How the demo stops: it says so at once, and doesn't first finish a video that nobody will see."""

import asyncio
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from bot.demo import runner
from bot.demo.fake_renderer import RenderingStopped, RenderPool
from bot.demo.request_parsing import CreateRequest
from bot.domain.jobs import Resolution
from tests.isolation import isolated_logging

SOON_S = 60.0


@pytest.fixture(autouse=True)
def logging_of_its_own() -> Iterator[None]:
    with isolated_logging():
        yield


async def test_closing_the_pool_gives_up_the_video_in_progress(tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (1280, 720), "teal").save(picture, "PNG")
    create = CreateRequest(prompt="waves", picture=picture.getvalue(), resolution=Resolution.P720, seed=1)
    part = tmp_path / "video.mp4.part"
    async with RenderPool(tmp_path) as pool:
        rendering = asyncio.create_task(pool.render("video", create))
        async with asyncio.timeout(SOON_S):
            while not part.exists() and not rendering.done():
                await asyncio.sleep(0.01)
    with pytest.raises(RenderingStopped):
        await rendering
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - blocking, but only the test's own folder


async def test_a_ctrl_c_is_answered_before_the_demo_has_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    demo = asyncio.create_task(runner.in_browser(port=0, or_free=False))
    said = ""

    async def until(text: str) -> None:
        nonlocal said
        while text not in said and not demo.done():
            await asyncio.sleep(0.02)
            said += capsys.readouterr().out

    async with asyncio.timeout(SOON_S):
        await until("Ready.")
        os.kill(os.getpid(), signal.SIGINT)
        await until("Stopping…")
        assert not demo.done()
        assert await demo == 0
