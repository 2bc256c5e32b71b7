"""Takes the README's picture: drives a real browser through the demo's page as a newcomer would.

A developer's tool, not part of the bot. Start `zoetrope demo`, then, with the address that it prints:

    .venv/bin/python docs/screenshot.py "http://127.0.0.1:…/#…"

It runs `/animate` with the sample picture, waits for the video, which must really play, and writes
`docs/pictures/demo.png`; with `--first-sight FILE` also what the page shows before anything is done. It needs a
Chromium that plays H.264 (Debian's does, Playwright's own build does not).

The selectors are those of SimCord 3.2.1's page (`simcord/preview/static`); a new version may change them.
"""

# ruff: noqa: INP001 - a script, not a part of a package

import argparse
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

PICTURE = Path(__file__).with_name("pictures") / "demo.png"
COMPOSER = "#channel-composer-input"
COMMAND = ".command-popup .command-entry"  # one command in the list that "/" opens
OPTION = '.command-pill[data-option="{name}"]'
VIDEO = "#channel-message-list video"
COLOURS = 256
"""A palette makes the file a third as large, and the page has few colours besides the picture."""

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def take(page: Page, file: Path) -> None:
    """Saves what the page shows."""
    page.screenshot(path=file)
    with Image.open(file) as shot:
        shot.convert("RGB").quantize(COLOURS, dither=Image.Dither.FLOYDSTEINBERG).save(file, optimize=True)


def animate(page: Page, prompt: str) -> None:
    """Runs `/animate` with the sample picture."""
    page.locator(COMPOSER).click()
    page.keyboard.type("/animate")
    page.locator(COMMAND).first.click()
    page.get_by_role("button", name="Use sample", exact=True).click()
    page.locator(OPTION.format(name="prompt")).locator("input").fill(prompt)
    page.keyboard.press("Enter")
    expect(page.locator(OPTION.format(name="prompt"))).to_have_count(0)


def play(page: Page, timeout_ms: float) -> None:
    """Waits for the video and plays two seconds of it, muted, as browsers require."""
    video = page.locator(VIDEO)
    video.wait_for(timeout=timeout_ms)
    handle = video.element_handle()
    page.wait_for_function("video => video.readyState >= 2", arg=handle, timeout=timeout_ms)
    video.evaluate("video => { video.muted = true; return video.play(); }")
    page.wait_for_function("video => video.currentTime > 2", arg=handle, timeout=timeout_ms)
    video.evaluate("video => video.pause()")


def main() -> None:
    """Reads the command line and takes the pictures."""
    parser = argparse.ArgumentParser(description="Takes pictures of the running demo.")
    parser.add_argument("url", help="the address that `zoetrope demo` printed, with everything after the #")
    parser.add_argument("--prompt", default="the beam sweeps over the waves")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--first-sight", type=Path, help="where to save the page as it first appears")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for each stage")
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1000, "height": 860}, color_scheme="dark")
        page.goto(options.url)
        page.wait_for_function("() => window.simcordPreview?.ready")
        if page.locator(VIDEO).count():
            raise SystemExit("the channel already has a video: restart the demo")
        if options.first_sight:
            take(page, options.first_sight)
        animate(page, options.prompt)
        play(page, options.timeout * 1000)
        take(page, options.picture)
        browser.close()


if __name__ == "__main__":
    main()
