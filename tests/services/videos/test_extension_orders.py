"""Orders whose picture is the last frame of a video, which may take minutes to fetch."""

import asyncio
from dataclasses import replace

from bot.domain.extensions import Extension
from bot.services.videos import MAX_PICTURES, VideoService
from tests.services.videos.conftest import MEMBER, Attachment, picture


async def test_videos_that_are_slow_to_fetch_keep_no_picture_waiting(service: VideoService) -> None:
    fetched, fetching = asyncio.Event(), 0

    async def last_frame() -> bytes:
        nonlocal fetching
        fetching += 1
        await fetched.wait()
        return picture()

    extensions = [
        asyncio.create_task(
            service.accept(
                replace(MEMBER, user_id=user_id), last_frame, extends=Extension("parent", 2, 10), prompt="a ship"
            )
        )
        for user_id in range(10, 10 + MAX_PICTURES)
    ]
    while fetching < MAX_PICTURES:
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        accepted = await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox")
    assert accepted.job.order.prompt == "a fox"
    fetched.set()
    assert {one.job.order.prompt for one in await asyncio.gather(*extensions)} == {"a ship"}
