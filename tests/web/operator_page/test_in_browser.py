"""The page in a real browser: signing in, every view at two widths, both themes. Skipped without a Chromium."""

import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from bot.store.engine import Database
from bot.store.jobs import all_servers
from tests.web.operator_page.conftest import NOW
from tests.web.operator_page.invented import TOKEN, served

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
DESKTOP, PHONE = ViewportSize(width=1280, height=900), ViewportSize(width=360, height=740)
SLOW_MS = 60_000.0

OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
WIDEST = """() => [...document.querySelectorAll("main *")]
    .filter(element => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(element => element.outerHTML.slice(0, 80))"""
BACKGROUND = "() => getComputedStyle(document.body).backgroundColor"

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium"),
    pytest.mark.timeout(300),
]


@pytest.fixture
async def port(database: Database) -> AsyncIterator[int]:
    async with served(database, NOW) as port:
        yield port


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


class Watched:
    """A tab, what its console said, and what it asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.set_default_timeout(SLOW_MS)
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))


async def sign_in(page: Page, url: str) -> None:
    await page.goto(f"{url}/")
    await page.fill("#token", TOKEN)
    await page.click("form.login button")
    await page.wait_for_selector("header.top")


async def views(database: Database) -> list[str]:
    async with database.read() as connection:
        failed = await all_servers.failed(connection, limit=2)
    lists = ["/", "/jobs", "/jobs?late=1", "/jobs?state=queued", "/failures", "/costs", "/none"]
    return [*lists, *(f"/jobs/{job.id}" for job in failed)]


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
async def test_every_view_fits_its_width_and_asks_nobody_else(
    browser: Browser, port: int, database: Database, size: ViewportSize, scheme: str
) -> None:
    url = f"http://127.0.0.1:{port}"
    page = await browser.new_page(viewport=size, color_scheme="dark" if scheme == "dark" else "light")
    tab = Watched(page)
    await sign_in(page, url)
    for path in await views(database):
        await page.goto(f"{url}{path}")
        for details in await page.locator("details").all():
            await details.locator("summary").click()
        assert await page.evaluate(OVERFLOW) == 0, path
        assert await page.evaluate(WIDEST) == [], path
        assert await page.locator("h1").count() == 1, path

    assert [said for said in tab.said if "401" not in said and "404" not in said] == []
    assert {asked for asked in tab.asked if not asked.startswith(url)} == set()


async def test_the_theme_is_that_of_the_browser(browser: Browser, port: int) -> None:
    backgrounds = []
    for scheme in ("light", "dark"):
        page = await browser.new_page(color_scheme="dark" if scheme == "dark" else "light")
        await page.goto(f"http://127.0.0.1:{port}/login")
        backgrounds.append(await page.evaluate(BACKGROUND))
    assert backgrounds == ["rgb(246, 247, 249)", "rgb(20, 23, 27)"]


async def test_it_works_without_javascript_and_through_a_tunnel_of_another_name(
    browser: Browser, port: int
) -> None:
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    page.set_default_timeout(SLOW_MS)
    await page.goto(f"http://localhost:{port}/jobs?late=1")
    await page.fill("#token", "wrong-token-of-length")
    await page.click("form.login button")
    await page.get_by_role("alert").wait_for()
    await page.fill("#token", TOKEN)
    await page.click("form.login button")
    await page.wait_for_url(f"http://localhost:{port}/jobs?late=1")
    [cookie] = await context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")

    link = page.locator("a.id").first
    job_id = await link.inner_text()
    await page.fill(".find input", job_id)
    await page.click(".find button")
    await page.wait_for_url(f"http://localhost:{port}/jobs/{job_id}")
    await page.click(".out button")
    await page.wait_for_selector("#token")
    assert await context.cookies() == []
    await page.goto(f"http://localhost:{port}/")
    assert await page.locator("#token").count() == 1
