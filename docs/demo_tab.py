"""The demo's page in a real browser: types commands, clicks buttons and takes pictures, as a member would.

Part of `docs/tour.py`. The selectors are those of SimCord 3.2.1's page (`simcord/preview/static`); a new version
may move them.
"""

# ruff: noqa: INP001 - a script, not a part of a package

import asyncio
import io
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from PIL import Image
from playwright.async_api import FloatRect, Locator, Page, ViewportSize, async_playwright, expect

COMPOSER = "#channel-composer-input"
SEND = "#send-message"
CHIP = ".command-chip"  # the command that is being filled in; gone once it is sent
LATEST = "#new-messages"  # jumps to the end of the channel
MESSAGES = "#channel-message-list [data-message-id]"
TIMELINE = "#channel-timeline"
PRIVATE = "Only you can see this"
DIALOG = "#modal-root [role=dialog]"

INTO_VIEW = """message => {
    message.style.scrollMarginBottom = "12px";
    message.scrollIntoView({block: "end"});
}"""

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE = ViewportSize(width=680, height=1900)  # as narrow as a chart leaves it, and high enough for every message
SCREEN = ViewportSize(width=1000, height=860)
PHONE = ViewportSize(width=390, height=844)
SCALE = 1.6  # sharper pictures
LEFT_PX = 12  # the shadow of SimCord's list of messages
QUALITY = 82
SLOW_MS = 90_000.0
"""How long anything may take; a busy machine renders a video in that time."""


@asynccontextmanager
async def opened_tab(url: str, chromium: str) -> AsyncIterator["DemoTab"]:
    """The page at `url` in a browser of its own. chromium: a program that plays H.264."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = await browser.new_page(viewport=WIDE, device_scale_factor=SCALE, color_scheme="dark")
        expect.set_options(timeout=SLOW_MS)
        page.set_default_timeout(SLOW_MS)
        await page.goto(url)
        await page.locator(COMPOSER).wait_for()
        await page.wait_for_function("() => window.simcordPreview?.ready")
        yield DemoTab(page)
        await browser.close()


class DemoTab:
    """The open page. Each method waits until the page shows what it did, or fails."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def message(self, text: str) -> Locator:
        """The newest message with that text."""
        return self.page.locator(MESSAGES).filter(has_text=text).last

    async def send(self, command: str, *, photo: Path | None = None, **options: str) -> Locator:
        """Fills in a slash command as people do and sends it; the private message that answers."""
        page = self.page
        await page.locator(COMPOSER).click()
        await page.keyboard.type(f"/{command}")
        title = page.locator(".command-popup .command-entry").filter(
            has=page.locator("strong", has_text=re.compile(f"^/{command}$"))
        )
        await title.click()
        if photo is not None:
            await (await self._pill("image")).locator("input[type=file]").set_input_files(photo)
        for name, value in options.items():
            await self._fill(name, value)
        answers = page.locator(MESSAGES).filter(has_text=PRIVATE)
        before = await answers.count()
        for _ in range(2):
            # A click just after the channel changed is refused as out of date: once more, then.
            await page.locator(SEND).click()
            try:
                await expect(page.locator(CHIP)).to_have_count(0, timeout=5000)
                break
            except AssertionError:
                continue
        return await self._answer(before)

    async def click(self, message: Locator, label: str) -> None:
        """Clicks a button of a message."""
        await message.get_by_role("button", name=label, exact=True).click()

    async def ask(self, message: Locator, label: str) -> Locator:
        """Clicks a button of a message; the private message that answers."""
        before = await self.page.locator(MESSAGES).filter(has_text=PRIVATE).count()
        await self.click(message, label)
        return await self._answer(before)

    async def look_as(self, view: str) -> None:
        """Chooses from the page's picker of members and channels."""
        await self.page.locator("#viewer-picker").select_option(label=view)

    async def play(self, message: Locator, until_s: float) -> None:
        """Plays a message's video, muted as browsers require, and stops at that second."""
        video = message.locator("video")
        await video.wait_for()
        handle = await video.element_handle()
        await self.page.wait_for_function("video => video.readyState >= 2", arg=handle)
        await video.evaluate("video => { video.muted = true; return video.play(); }")
        await self.page.wait_for_function(f"video => video.currentTime > {until_s}", arg=handle)
        await video.evaluate("video => video.pause()")

    async def picture(self, message: Locator, path: Path) -> None:
        """Takes that message alone, whole."""
        await self._settled(message)
        box = await message.bounding_box()
        if box is None:
            raise SystemExit(f"{path.name}: the message is not on the page")
        width = WIDE["width"] - LEFT_PX
        clip = FloatRect(x=LEFT_PX, y=box["y"], width=width, height=box["height"])
        save(await self.page.screenshot(clip=clip), path)

    async def phone_picture(self, message: Locator, path: Path) -> None:
        """Takes the whole page as a phone shows it, with that message in it."""
        await self._whole(message, path, PHONE)

    async def screen_picture(self, message: Locator, path: Path) -> None:
        """Takes the whole page as a small window shows it, with that message in it."""
        await self._whole(message, path, SCREEN)

    async def dialog_picture(self, path: Path) -> None:
        """Takes the form that is open, as high as it is."""
        dialog = self.page.locator(DIALOG)
        await dialog.wait_for()
        await asyncio.sleep(0.5)  # it fades in
        save(await dialog.screenshot(), path)

    async def close_dialog(self) -> None:
        """Closes the form that is open."""
        await self.page.keyboard.press("Escape")
        await expect(self.page.locator(DIALOG)).to_have_count(0)

    async def submit(self, text: str) -> Locator:
        """Writes the text into the form's first field and submits it; the private message that answers."""
        before = await self.page.locator(MESSAGES).filter(has_text=PRIVATE).count()
        dialog = self.page.locator(DIALOG)
        await dialog.locator("textarea").first.fill(text)
        await dialog.get_by_role("button", name="Submit").click()
        return await self._answer(before)

    async def _whole(self, message: Locator, path: Path, size: ViewportSize) -> None:
        await self.page.set_viewport_size(size)
        await self._settled(message)
        save(await self.page.screenshot(), path)
        await self.page.set_viewport_size(WIDE)

    async def _settled(self, message: Locator) -> None:
        page = self.page
        if await page.locator(LATEST).is_visible():
            await page.locator(LATEST).click()
        await message.wait_for()
        await message.evaluate(INTO_VIEW)
        await page.mouse.move(0, 0)  # else the message shows what can be done with it
        for image in await message.locator("img").all():
            await expect(image).not_to_have_js_property("naturalWidth", 0)  # it may still be loading
        before = None
        while (box := await message.bounding_box()) != before:
            before = box
            await asyncio.sleep(0.5)  # the page's scrolling is animated, and what it shows may still grow
            await message.evaluate(INTO_VIEW)

    async def _answer(self, before: int) -> Locator:
        answers = self.page.locator(MESSAGES).filter(has_text=PRIVATE)
        await expect(answers).to_have_count(before + 1)
        answer = answers.last
        await expect(answer).not_to_contain_text("Thinking")
        return answer

    async def _pill(self, option: str) -> Locator:
        """Where an option is filled in; an optional one is added first."""
        page = self.page
        pill = page.locator(f".command-pill[data-option={option}]")
        if not await pill.count():
            await page.locator(".command-ghost").click()
            await page.locator(".command-suggestion", has_text=re.compile(f"^{option}")).click()
        return pill

    async def _fill(self, option: str, value: str) -> None:
        """Fills in an option; chooses from a list where there is one."""
        await (await self._pill(option)).locator("input").fill(value)
        choice = self.page.locator(".command-suggestion", has_text=value)
        if await choice.count():
            await choice.first.click()


def save(png: bytes, path: Path) -> None:
    """Writes a picture as WEBP, a fraction of a PNG, and says so."""
    with Image.open(io.BytesIO(png)) as shot:
        shot.convert("RGB").save(path, quality=QUALITY, method=6)
    sys.stdout.write(f"{path} ({path.stat().st_size // 1000} KB)\n")
