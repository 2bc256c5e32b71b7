"""Takes the README's pictures: drives a real browser through the demo's page, as a member would use it.

A developer's tool, not part of the bot. Start `zoetrope demo`, then, with the address that it prints:

    .venv/bin/python docs/screenshot.py "http://127.0.0.1:…/#…" photo.jpg --prompt "the leaves begin to dance"

It picks `/animate`, uploads the photo, types the prompt, sends, and waits for the answer, the public status and
the finished video, which must really play; each stage becomes a PNG in `docs/pictures/`. It fails where a stage
does not come. It needs a Chromium that plays H.264 (Debian's does, Playwright's own build does not).

The selectors are those of SimCord 3.2.1's page (`simcord/preview/static`); a new version may move them.
"""

# ruff: noqa: INP001 - a script, not a part of a package

import argparse
import re
import sys
from pathlib import Path

from playwright.sync_api import Locator, Page, expect, sync_playwright

COMPOSER = "#channel-composer-input"
ENTRY = ".command-popup .command-entry"  # one command in the list that "/" opens
OPTIONS = ".command-pill"  # all options of the chosen command; gone once it is sent
OPTION = '.command-pill[data-option="{name}"]'
SEND = "#send-message"
MESSAGES = "#channel-message-list"
VIDEO = f"{MESSAGES} video"
SIDEBAR = "#messages-toggle"  # SimCord's own list of messages, beside the channel

QUIET_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Camera:
    """Saves what the page shows, numbered in the order of a member's way through it."""

    def __init__(self, page: Page, folder: Path) -> None:
        self._page = page
        self._folder = folder
        self._taken = 0

    def take(self, name: str) -> None:
        """One picture, called `name`."""
        self._taken += 1
        path = self._folder / f"{self._taken}-{name}.png"
        self._page.screenshot(path=path)
        sys.stdout.write(f"{path}\n")


def ask(page: Page, camera: Camera, photo: Path, prompt: str) -> None:
    """Fills in `/animate` as a member does and sends it."""
    page.locator(COMPOSER).click()
    page.keyboard.type("/animate")
    entry = page.locator(ENTRY).filter(has_text=re.compile(r"^\s*\S*/animate\b")).first
    entry.wait_for()
    camera.take("command")
    entry.click()
    page.locator(OPTION.format(name="image")).locator("input[type=file]").set_input_files(photo)
    page.locator(OPTION.format(name="prompt")).locator("input").fill(prompt)
    camera.take("options")
    page.locator(SEND).click()
    try:
        expect(page.locator(OPTIONS)).to_have_count(0)
    except AssertionError:
        # A click just after the channel changed is refused as out of date. A button that is merely at work is
        # disabled, and this click waits for it.
        page.locator(SEND).click()
        expect(page.locator(OPTIONS)).to_have_count(0)


def watch(page: Page, camera: Camera, before: int, timeout_ms: float) -> Locator:
    """Waits for the answer, the public status and the video, in this order; returns the video."""
    messages = page.locator(f"{MESSAGES} > *")
    expect(messages).not_to_have_count(before, timeout=timeout_ms)
    camera.take("answer")
    video = page.locator(VIDEO).last
    video.wait_for(timeout=timeout_ms)
    page.wait_for_function("video => video.readyState >= 2", arg=video.element_handle(), timeout=timeout_ms)
    return video


def play(page: Page, video: Locator, timeout_ms: float) -> None:
    """Starts the video, muted as browsers want it, and waits until it has moved for a second."""
    video.scroll_into_view_if_needed()
    video.evaluate("video => { video.muted = true; return video.play(); }")
    page.wait_for_function("video => video.currentTime > 1", arg=video.element_handle(), timeout=timeout_ms)


def run(url: str, photo: Path, prompt: str, folder: Path, chromium: str, timeout_ms: float) -> None:
    """Drives one browser from the first click to the playing video."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(QUIET_FLAGS))
        page = browser.new_page(viewport={"width": 1120, "height": 940}, color_scheme="dark")
        page.goto(url)
        page.locator(COMPOSER).wait_for()
        page.wait_for_function("() => window.simcordPreview?.ready")
        if page.locator(SIDEBAR).get_attribute("aria-expanded") == "true":
            page.locator(SIDEBAR).click()
        camera = Camera(page, folder)
        videos, messages = page.locator(VIDEO).count(), page.locator(f"{MESSAGES} > *").count()
        if videos:
            raise SystemExit("the channel holds a video already: start the demo anew")
        ask(page, camera, photo, prompt)
        video = watch(page, camera, messages, timeout_ms)
        play(page, video, timeout_ms)
        camera.take("video")
        browser.close()


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Takes pictures of the running demo.")
    parser.add_argument("url", help="the address that `zoetrope demo` printed, with everything after the #")
    parser.add_argument("photo", type=Path)
    parser.add_argument("--prompt", default="the camera glides slowly through the scene")
    parser.add_argument("--pictures", type=Path, default=Path(__file__).with_name("pictures"))
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for each stage")
    args = parser.parse_args()
    run(args.url, args.photo, args.prompt, args.pictures, args.chromium, args.timeout * 1000)


if __name__ == "__main__":
    main()
