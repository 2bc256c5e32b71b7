"""Takes the pictures of docs/operator-page.md: the operator's page over an invented month.

A developer's tool, not part of the bot. It fills a temporary database through the bot's own store, serves the page
as the bot does, and looks at it with a real browser. It needs the development tools and a Chromium:

    .venv/bin/python -m docs.operator_page
"""

# ruff: noqa: INP001 - a script, not a part of a package

import argparse
import asyncio
import io
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.async_api import Browser, ViewportSize, async_playwright

from bot.operations.clock import utc_now
from bot.store.engine import Database
from bot.store.jobs import all_servers
from bot.store.maintenance.migrate import migrate
from docs.demo_tab import FLAGS
from tests.web.operator_page.invented import TOKEN, Invented, served

DAYS = 30
DESKTOP, PHONE = ViewportSize(width=1040, height=860), ViewportSize(width=390, height=844)
COLORS = 64
"""A page has few colors; a picture of so many looks the same and takes a third of the space."""
NAMES = {11: "Lighthouse Keepers", 12: "Les Amis de l'Écran", 13: "Bold & Co", 14: "Tokyo Anime Club"}


async def take_pictures(folder: Path, chromium: str, *, days: int) -> None:
    """Every view of the page, some also at a phone's width."""
    with TemporaryDirectory(prefix="zoetrope-page-") as name:
        async with Database.open(f"sqlite:///{Path(name) / 'page.db'}") as database:
            await migrate(database)
            now = utc_now()
            invented = Invented(database, now)
            await invented.past(days)
            await invented.present()
            async with database.read() as connection:
                [failed, *_] = await all_servers.failed(connection, limit=1)
            async with served(database, now, names=NAMES) as port, async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
                views = {
                    "overview": "/?refresh=off",
                    "jobs": "/jobs?refresh=off",
                    "failures": "/failures",
                    "costs": "/costs",
                    "job": f"/jobs/{failed.id}",
                }
                url = f"http://127.0.0.1:{port}"
                await look(browser, url, views, folder, DESKTOP, "light", "")
                await look(browser, url, {"overview-dark": views["overview"]}, folder, DESKTOP, "dark", "")
                on_phone = {name: views[name] for name in ("jobs", "job")}
                await look(browser, url, on_phone, folder, PHONE, "dark", "-phone")
                await browser.close()


async def look(
    browser: Browser, url: str, views: dict[str, str], folder: Path, size: ViewportSize, scheme: str, end: str
) -> None:
    """Signs in and takes a picture of each view, from its top to its end."""
    is_dark = scheme == "dark"
    page = await browser.new_page(viewport=size, color_scheme="dark" if is_dark else "light")
    await page.goto(f"{url}/login")
    if not end and not is_dark:
        save(await page.screenshot(), folder / "operator-page-login.png")
    await page.fill("#token", TOKEN)
    await page.click("form.login button")
    await page.wait_for_selector("header.top")
    for name, path in views.items():
        await page.goto(f"{url}{path}")
        for details in await page.locator("details").all():
            await details.evaluate("details => { details.open = true; }")
        save(await page.screenshot(full_page=name != "costs"), folder / f"operator-page-{name}{end}.png")
    await page.close()


def save(png: bytes, file: Path) -> None:
    """Writes the picture with few colors."""
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLORS).save(file, optimize=True)
    print(f"{file.name}: {file.stat().st_size:,} bytes")  # noqa: T201 - what the script says


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Takes the pictures of the operator's page.")
    parser.add_argument("--pictures", type=Path, default=Path(__file__).with_name("pictures"))
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--days", type=int, default=DAYS)
    args = parser.parse_args()
    args.pictures.mkdir(parents=True, exist_ok=True)
    asyncio.run(take_pictures(args.pictures, args.chromium, days=args.days))


if __name__ == "__main__":
    main()
