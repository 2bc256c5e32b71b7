import asyncio
import io
from collections.abc import AsyncIterator, Callable
from typing import Any, cast
from urllib.parse import urldefrag

import aiohttp
import av
import pytest
from PIL import Image

from bot.demo.offline_discord import OfflineDiscord
from bot.demo.page import Page
from tests.demo.toy_bot import ToyBot, Toys

SOON_S = 10.0


def make_video(codec: str = "libx264", container: str = "mp4") -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = cast("av.VideoStream", output.add_stream(codec, rate=30))
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for shade in range(10):
            picture = Image.new("RGB", (96, 64), (shade, 90, 90))
            frame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]  # PyAV leaves it so
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


class Browser:
    """Speaks to the page as its scripts do."""

    def __init__(self, http: aiohttp.ClientSession, address: str, context: str) -> None:
        self._http = http
        self._address = address
        self._context = context

    async def state(self) -> dict[str, Any]:
        async with self._http.get(f"{self._address}/api/state", headers=self._headers) as answer:
            state: dict[str, Any] = await answer.json()
            return state

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(SOON_S):
            while not holds(state := await self.state()):
                await asyncio.sleep(0.02)
            return state

    async def asset(self, kind: str, **query: str) -> tuple[str, bytes]:
        shown = await self.until(lambda state: any(a["contentType"] == kind for a in state["assets"].values()))
        asset = next(a["id"] for a in shown["assets"].values() if a["contentType"] == kind)
        url = f"{self._address}/api/assets/{asset}"
        async with self._http.get(url, headers=self._headers, params=query) as answer:
            return answer.content_type, await answer.read()

    @property
    def _headers(self) -> dict[str, str]:
        return {"X-Simcord-Context": self._context}


def has_text(text: str) -> Callable[[dict[str, Any]], bool]:
    return lambda state: any(message["content"] == text for message in state["messages"].values())


async def let_the_page_act() -> None:
    """Enough turns of the loop for a refresh that is not held back."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture
async def bot() -> ToyBot:
    return ToyBot()


@pytest.fixture
async def world(bot: ToyBot) -> AsyncIterator[OfflineDiscord]:
    async with OfflineDiscord(bot) as world:
        yield world


@pytest.fixture
def gather_s() -> float:
    return 0.1


@pytest.fixture
async def page(world: OfflineDiscord, gather_s: float) -> AsyncIterator[Page]:
    async with Page(world, gather_s=gather_s) as page:
        yield page


@pytest.fixture
async def browser(page: Page) -> AsyncIterator[Browser]:
    address, key = urldefrag(page.url)
    async with aiohttp.ClientSession(headers={"X-Simcord-Capability": key}) as http:
        async with http.post(f"{address}api/pages", json={}) as answer:
            context = (await answer.json())["context"]["id"]
        yield Browser(http, address.rstrip("/"), context)


async def test_the_page_offers_the_bots_own_commands(browser: Browser) -> None:
    assert (await browser.state())["commands"]["count"] == len(Toys().get_app_commands())


async def test_a_new_message_appears_by_itself(bot: ToyBot, world: OfflineDiscord, browser: Browser) -> None:
    await bot.post(world.channel_id, "is being made")

    await browser.until(has_text("is being made"))


async def test_an_edited_status_appears_by_itself(bot: ToyBot, world: OfflineDiscord, browser: Browser) -> None:
    status = await bot.post(world.channel_id, "is being made")
    await browser.until(has_text("is being made"))

    await bot.get_partial_messageable(world.channel_id).get_partial_message(status.id).edit(content="done")

    await browser.until(has_text("done"))


async def test_changes_close_together_are_shown_at_once(
    bot: ToyBot, world: OfflineDiscord, browser: Browser
) -> None:
    before = (await browser.state())["publishedRevision"]

    for number in range(5):
        await bot.post(world.channel_id, f"message {number}")
        await let_the_page_act()

    after = await browser.until(has_text("message 4"))
    assert after["publishedRevision"] - before < 5


@pytest.mark.parametrize("gather_s", [0])
async def test_what_happens_during_a_command_is_shown_after_it(
    bot: ToyBot, world: OfflineDiscord, browser: Browser
) -> None:
    command = asyncio.create_task(world.command("linger"))
    await bot.lingering.wait()
    await bot.post(world.channel_id, "meanwhile")
    await let_the_page_act()

    bot.enough.set()
    await command

    await browser.until(has_text("meanwhile"))


async def test_a_posted_mp4_reaches_the_browser_as_it_is(
    bot: ToyBot, world: OfflineDiscord, browser: Browser
) -> None:
    video = make_video()

    await bot.post(world.channel_id, "here it is", video=video)

    assert await browser.asset("video/mp4") == ("video/mp4", video)


async def test_a_posted_mp4_has_its_first_picture_as_poster(
    bot: ToyBot, world: OfflineDiscord, browser: Browser
) -> None:
    await bot.post(world.channel_id, "here it is", video=make_video())

    kind, poster = await browser.asset("video/mp4", poster="1")

    assert kind == "image/png"
    assert Image.open(io.BytesIO(poster)).size == (96, 64)


async def test_a_video_that_not_every_browser_plays_is_still_re_encoded(
    bot: ToyBot, world: OfflineDiscord, browser: Browser
) -> None:
    await bot.post(world.channel_id, "here it is", video=make_video("mpeg4"))

    kind, _ = await browser.asset("video/mp4")

    assert kind == "video/webm"


async def test_a_file_that_only_calls_itself_a_video_does_no_harm(
    bot: ToyBot, world: OfflineDiscord, browser: Browser
) -> None:
    broken = b"\0\0\0\x18ftyp" + bytes(100)
    await bot.post(world.channel_id, "here it is", video=broken)

    _, answer = await browser.asset("video/mp4")

    assert b"asset-unavailable" in answer


async def test_the_page_is_gone_at_the_end(world: OfflineDiscord) -> None:
    async with Page(world) as page:
        address, _ = urldefrag(page.url)

    await asyncio.wait_for(page.wait_closed(), SOON_S)
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(address)


@pytest.mark.parametrize("name", ["evil.example", "evil.example:{port}", "127.0.0.1", "0.0.0.0:{port}", ""])
async def test_the_page_answers_to_no_other_name(page: Page, name: str) -> None:
    address, key = urldefrag(page.url)
    host = name.format(port=address.rstrip("/").rpartition(":")[2])
    async with aiohttp.ClientSession(headers={"X-Simcord-Capability": key, "Host": host}) as http:
        for path in ("/", "/api/state", "/api/commands"):
            async with http.get(address.rstrip("/") + path) as answer:
                assert answer.status in {400, 401, 403}


async def test_the_page_shows_nothing_without_its_key(page: Page) -> None:
    address, _ = urldefrag(page.url)
    async with aiohttp.ClientSession() as http:
        for path in ("/api/state", "/api/commands"):
            async with http.get(address.rstrip("/") + path) as answer:
                assert answer.status == 401


async def test_the_page_is_on_loopback_alone(page: Page) -> None:
    runner = page._preview._server.runner
    assert runner is not None
    assert {address[0] for address in runner.addresses} == {"127.0.0.1"}
