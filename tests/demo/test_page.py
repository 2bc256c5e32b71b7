import asyncio
import io
from collections.abc import AsyncIterator, Callable
from typing import Any, cast
from urllib.parse import urldefrag

import aiohttp
import av
import discord
import pytest
from PIL import Image
from simcord import MemberActor

from bot.demo.offline_discord import OfflineDiscord
from bot.demo.page import served_page
from bot.demo.preview import ChannelView, DemoPreview
from tests.demo.example_bot import ExampleBot, ExampleCommands, KeepButton

SOON_S = 60.0


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
        self.sequence = 0
        self.sent: dict[str, Any] = {}

    async def state(self) -> dict[str, Any]:
        async with self._http.get(f"{self._address}/api/state", headers=self._headers) as answer:
            state: dict[str, Any] = await answer.json()
            return state

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(SOON_S):
            while not holds(state := await self.state()):
                await asyncio.sleep(0.02)
            return state

    async def act(self, kind: str, state: dict[str, Any], **body: Any) -> dict[str, Any]:
        """Sends an action as the page does that shows `state`; returns its receipt."""
        action = {
            "protocol_version": 3,
            "kind": kind,
            "sequence": self.sequence + 1,
            "request_id": f"request-{self.sequence}",
            "generation": state["context"]["generation"],
            "bot_generation": state["botGeneration"],
            "published_revision": state["publishedRevision"],
            **body,
        }
        receipt = await self.send(action)
        self.sequence = receipt["expectedSequence"]
        self.sent = action
        return receipt

    async def send(self, action: dict[str, Any]) -> dict[str, Any]:
        async with self._http.post(f"{self._address}/api/action", headers=self._headers, json=action) as answer:
            receipt: dict[str, Any] = await answer.json()
            return receipt

    async def click(self, state: dict[str, Any], message_id: int) -> dict[str, Any]:
        row = state["messages"][str(message_id)]["components"][0]
        key = row["components"][0]["control_key"]
        return await self.act("click", state, target_id=str(message_id), control_key=key)

    async def show(self, view: str) -> dict[str, Any]:
        """Chooses from the page's picker; returns what it shows then."""
        state = await self.state()
        wanted = next(viewer["id"] for viewer in state["viewers"] if viewer["name"] == view)
        receipt = await self.act("viewer", state, viewer_id=wanted)
        assert not receipt["rejected"]
        return await self.state()

    async def asset(self, kind: str, **query: str) -> tuple[str, bytes]:
        shown = await self.until(lambda state: any(a["contentType"] == kind for a in state["assets"].values()))
        asset = next(a["id"] for a in shown["assets"].values() if a["contentType"] == kind)
        url = f"{self._address}/api/assets/{asset}"
        async with self._http.get(url, headers=self._headers, params=query) as answer:
            return answer.content_type, await answer.read()

    @property
    def _headers(self) -> dict[str, str]:
        return {"X-Simcord-Context": self._context}


def texts(state: dict[str, Any]) -> list[str]:
    return [state["messages"][message]["content"] for message in state["timeline"]]


def has_text(text: str) -> Callable[[dict[str, Any]], bool]:
    return lambda state: any(message["content"] == text for message in state["messages"].values())


async def run_event_loop() -> None:
    """Enough turns of the loop for a refresh that is not held back."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture
async def bot() -> ExampleBot:
    return ExampleBot()


@pytest.fixture
async def offline(bot: ExampleBot) -> AsyncIterator[OfflineDiscord]:
    async with OfflineDiscord(bot) as offline:
        yield offline


@pytest.fixture
def batch_s() -> float:
    return 0.1


@pytest.fixture
def moderator(offline: OfflineDiscord) -> MemberActor:
    """A second member, with a channel of their own that the first one doesn't see."""
    maya = offline.add_member("Maya")
    channel = offline.add_channel("moderators", topic="", only=maya)
    offline.views += [ChannelView("Maya, #moderators", maya, channel), ChannelView("Maya", maya, offline.channel)]
    return maya


@pytest.fixture
async def page(offline: OfflineDiscord, batch_s: float) -> AsyncIterator[DemoPreview]:
    async with served_page(offline, batch_s=batch_s) as page:
        yield page


@pytest.fixture
async def browser(page: DemoPreview) -> AsyncIterator[Browser]:
    address, key = urldefrag(page.url)
    async with aiohttp.ClientSession(headers={"X-Simcord-Capability": key}) as http:
        async with http.post(f"{address}api/pages", json={}) as answer:
            context = (await answer.json())["context"]["id"]
        yield Browser(http, address.rstrip("/"), context)


async def test_the_page_offers_the_bots_own_commands(browser: Browser) -> None:
    assert (await browser.state())["commands"]["count"] == len(ExampleCommands().get_app_commands())


async def test_a_new_message_appears_without_reloading(
    bot: ExampleBot, offline: OfflineDiscord, browser: Browser
) -> None:
    await bot.post(offline.channel.id, "rendering")

    await browser.until(has_text("rendering"))


async def test_a_quote_ends_where_discord_ends_it(
    bot: ExampleBot, offline: OfflineDiscord, browser: Browser
) -> None:
    message = await bot.post(offline.channel.id, "> a fox\nready")

    shown = (await browser.until(has_text(message.content)))["messages"][str(message.id)]["content_tokens"]
    assert [block["type"] for block in shown] == ["blockquote", "paragraph"]


async def test_an_edited_message_appears_without_reloading(
    bot: ExampleBot, offline: OfflineDiscord, browser: Browser
) -> None:
    status = await bot.post(offline.channel.id, "rendering")
    await browser.until(has_text("rendering"))

    await bot.get_partial_messageable(offline.channel.id).get_partial_message(status.id).edit(content="done")

    await browser.until(has_text("done"))


async def test_changes_in_quick_succession_are_batched(
    bot: ExampleBot, offline: OfflineDiscord, browser: Browser
) -> None:
    before = (await browser.state())["publishedRevision"]

    for number in range(5):
        await bot.post(offline.channel.id, f"message {number}")
        await run_event_loop()

    after = await browser.until(has_text("message 4"))
    assert after["publishedRevision"] - before < 5


@pytest.mark.parametrize("batch_s", [0])
async def test_a_message_posted_during_a_command_is_shown_after_it(
    bot: ExampleBot, offline: OfflineDiscord, browser: Browser
) -> None:
    command = asyncio.create_task(offline.command("linger"))
    await bot.command_running.wait()
    await bot.post(offline.channel.id, "meanwhile")
    await run_event_loop()

    bot.finish_command.set()
    await command

    await browser.until(has_text("meanwhile"))


async def test_a_click_after_a_refresh_takes_effect_once(
    bot: ExampleBot, offline: OfflineDiscord, browser: Browser
) -> None:
    button = await bot.post(offline.channel.id, "here it is", video=b"x")
    seen = await browser.until(has_text("here it is"))
    await bot.post(offline.channel.id, "refresh")
    await browser.until(has_text("refresh"))

    receipt = await browser.click(seen, button.id)

    assert receipt["settlement"] == "settled"
    assert texts(await browser.state()).count("kept abc") == 1


async def test_a_click_that_is_sent_twice_takes_effect_once(
    bot: ExampleBot, offline: OfflineDiscord, browser: Browser
) -> None:
    button = await bot.post(offline.channel.id, "here it is", video=b"x")
    await browser.click(await browser.until(has_text("here it is")), button.id)

    await browser.send(browser.sent)

    assert [message.content for message in offline.messages()].count("kept abc") == 1


async def test_a_click_on_a_replaced_button_is_refused(
    bot: ExampleBot, offline: OfflineDiscord, browser: Browser
) -> None:
    button = await bot.post(offline.channel.id, "here it is", video=b"x")
    seen = await browser.until(has_text("here it is"))
    view = discord.ui.View(timeout=None)
    view.add_item(KeepButton("other"))
    await (
        bot.get_partial_messageable(offline.channel.id)
        .get_partial_message(button.id)
        .edit(content="new", view=view)
    )
    await browser.until(has_text("new"))

    receipt = await browser.click(seen, button.id)

    assert [problem["code"] for problem in receipt["diagnostics"]] == ["stale-revision"]
    assert "kept other" not in texts(await browser.state())


async def test_a_click_during_a_command_waits_for_it(
    bot: ExampleBot, offline: OfflineDiscord, browser: Browser
) -> None:
    button = await bot.post(offline.channel.id, "here it is", video=b"x")
    seen = await browser.until(has_text("here it is"))
    command = asyncio.create_task(offline.command("linger"))
    await bot.command_running.wait()
    click = asyncio.create_task(browser.click(seen, button.id))
    await run_event_loop()
    bot.finish_command.set()

    assert (await click)["settlement"] == "settled"
    await command


@pytest.mark.usefixtures("moderator")
async def test_the_page_shows_another_channel_as_another_member(offline: OfflineDiscord, browser: Browser) -> None:
    await offline.post(offline.views[1].channel, "Guide", "for moderators")

    state = await browser.show("Maya, #moderators")

    assert (state["channel"]["name"], texts(state)) == ("moderators", ["for moderators"])
    receipt = await browser.act("send_message", state, content="hello")
    assert receipt["settlement"] == "settled"
    assert texts(await browser.show("Maya")) == []
    assert texts(await browser.show("Maya, #moderators")) == ["for moderators", "hello"]


@pytest.mark.usefixtures("moderator")
async def test_a_refused_change_of_view_changes_nothing(offline: OfflineDiscord, browser: Browser) -> None:
    state = await browser.state()

    receipt = await browser.act("viewer", state, viewer_id=offline.views[1].id, generation=9)

    assert receipt["rejected"]
    assert (await browser.state())["channel"]["name"] == "videos"


@pytest.mark.usefixtures("moderator")
async def test_a_member_does_not_see_another_members_channel(offline: OfflineDiscord, browser: Browser) -> None:
    state = await browser.state()
    forged = offline.views[1].channel.id

    receipt = await browser.act("viewer", state, viewer_id=f"{offline.viewer.id}:{forged}")

    assert receipt["rejected"]
    assert (await browser.state())["channel"]["name"] == "videos"


async def test_the_page_serves_the_sample_picture_and_the_demos_script(page: DemoPreview) -> None:
    address, _ = urldefrag(page.url)
    async with aiohttp.ClientSession() as http:
        async with http.get(address) as answer:
            assert "/demo.js" in await answer.text()
        for path, kind in (
            ("demo.js", "application/javascript"),
            ("demo.css", "text/css"),
            ("sample.jpg", "image/jpeg"),
        ):
            async with http.get(address + path) as answer:
                assert (answer.status, answer.content_type) == (200, kind)
                assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


async def test_a_posted_mp4_is_served_unchanged(
    bot: ExampleBot, offline: OfflineDiscord, browser: Browser
) -> None:
    video = make_video()

    await bot.post(offline.channel.id, "here it is", video=video)

    assert await browser.asset("video/mp4") == ("video/mp4", video)


async def test_a_posted_mp4_has_its_first_frame_as_poster(
    bot: ExampleBot, offline: OfflineDiscord, browser: Browser
) -> None:
    await bot.post(offline.channel.id, "here it is", video=make_video())

    kind, poster = await browser.asset("video/mp4", poster="1")

    assert kind == "image/png"
    assert Image.open(io.BytesIO(poster)).size == (96, 64)


async def test_a_video_that_not_every_browser_plays_is_re_encoded(
    bot: ExampleBot, offline: OfflineDiscord, browser: Browser
) -> None:
    await bot.post(offline.channel.id, "here it is", video=make_video("mpeg4"))

    kind, _ = await browser.asset("video/mp4")

    assert kind == "video/webm"


async def test_a_corrupt_video_is_reported_as_unavailable(
    bot: ExampleBot, offline: OfflineDiscord, browser: Browser
) -> None:
    broken = b"\0\0\0\x18ftyp" + bytes(100)
    await bot.post(offline.channel.id, "here it is", video=broken)

    _, answer = await browser.asset("video/mp4")

    assert b"asset-unavailable" in answer


async def test_the_page_is_not_served_after_the_end(offline: OfflineDiscord) -> None:
    async with served_page(offline) as page:
        address, _ = urldefrag(page.url)

    await asyncio.wait_for(page.wait_closed(), SOON_S)
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(address)


@pytest.mark.parametrize("name", ["evil.example", "evil.example:{port}", "127.0.0.1", "0.0.0.0:{port}", ""])
async def test_the_page_refuses_other_host_names(page: DemoPreview, name: str) -> None:
    address, key = urldefrag(page.url)
    host = name.format(port=address.rstrip("/").rpartition(":")[2])
    async with aiohttp.ClientSession(headers={"X-Simcord-Capability": key, "Host": host}) as http:
        for path in ("/", "/sample.jpg", "/api/state", "/api/commands"):
            async with http.get(address.rstrip("/") + path) as answer:
                assert answer.status in {400, 401, 403}


async def test_the_page_shows_nothing_without_its_key(page: DemoPreview) -> None:
    address, _ = urldefrag(page.url)
    async with aiohttp.ClientSession() as http:
        for path in ("/api/state", "/api/commands"):
            async with http.get(address.rstrip("/") + path) as answer:
                assert answer.status == 401


async def test_the_page_listens_on_loopback_only(page: DemoPreview) -> None:
    runner = page._server.runner
    assert runner is not None
    assert {address[0] for address in runner.addresses} == {"127.0.0.1"}
