"""Takes the README's pictures of the admins' side: the settings, a month's use, a refusal that names its limit.

A developer's tool, not part of the bot. It starts the demo's bot and offline Discord by itself, gives their server
thirty days of made-up videos through the bot's own store, then drives a real browser as an admin would:

    .venv/bin/python docs/admin_shots.py photo.jpg

It writes `settings.png`, `usage.png` and `refusal.png` to `docs/pictures/`, and fails where an answer does not
come. What is random is seeded, so two runs of one day differ only in the times that they show.

The selectors are those of SimCord 3.2.1's page (`simcord/preview/static`); a new version may move them.
"""

# ruff: noqa: INP001, S311 - a script, not a part of a package; chance makes pictures here, no secrets

import argparse
import asyncio
import random
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.async_api import Locator, async_playwright, expect
from playwright.async_api import Page as Tab
from pydantic import SecretStr

from bot.app import App, open_app
from bot.chat.transport.client import ZoetropeBot
from bot.demo.gateway import LocalGateway
from bot.demo.offline_discord import OfflineDiscord
from bot.demo.page import served_page
from bot.demo.preview import DemoPreview
from bot.domain.jobs import (
    Fail,
    FailureCause,
    FailureDetail,
    FailureReason,
    Frame,
    Job,
    JobState,
    JobUpdate,
    MoveTo,
    NewJob,
    Order,
    Outcome,
    Reschedule,
    Resolution,
    new_job_id,
)
from bot.domain.policy import Requester
from bot.operations.clock import utc_now
from bot.services.admin.audited import Admin
from bot.services.admin.limits import LimitChanges
from bot.settings import GivenSettings

COMPOSER = "#channel-composer-input"
SEND = "#send-message"
CHIP = ".command-chip"  # the command that is being filled in; gone once it is sent
LATEST = "#new-messages"  # jumps to the end of the channel
MESSAGES = "#channel-message-list [data-message-id]"
TIMELINE = "#channel-timeline"
FILE_TEXT = ".attachment-preview"  # the first lines of a text file, shown under a message
FOUR_LINES = """text => {
    const style = getComputedStyle(text);
    text.style.maxHeight = `${parseFloat(style.paddingTop) + 4 * parseFloat(style.lineHeight)}px`;
    text.style.paddingBottom = 0;
    text.style.overflow = "hidden";
}"""

QUIET_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTH_PX, HEIGHT_PX, SCALE = 680, 1900, 1.6
"""Of the browser's window: as narrow as a chart leaves it, so that nothing is cropped; scale: sharper pictures."""
LEFT_PX = 12  # the shadow of SimCord's list of messages

MEMBERS = ("Maya", "Jonas", "Lin", "Aisha", "Tomás", "Ravi", "Élodie")
PROMPT = "steam rises from the cup"
DAYS = 30
KEY = "demo-key-of-no-value"
FRAME = Frame(b"\xff\xd8\xff", "image/jpeg")
MINUTE = timedelta(minutes=1)
LEASES = dict.fromkeys(JobState, MINUTE)


@dataclass(frozen=True, slots=True)
class Past:
    """Writes what was made earlier, the way the worker would have; none runs."""

    app: App
    guild_id: int
    channel_id: int

    async def video(self, user_id: int, at: datetime, chance: random.Random) -> None:
        """One video that was asked for at that moment."""
        resolution = chance.choices((Resolution.P720, Resolution.P480), (3, 1))[0]
        order = Order(PROMPT, resolution=resolution)
        job = NewJob(new_job_id(), self.guild_id, self.channel_id, user_id, order)
        await self.app.store.add(job, FRAME, Requester(self.guild_id, self.channel_id, user_id), at)
        await self._step(await self._claimed(job.id, at), Reschedule(None), at)
        ends = chance.choices(("delivered", "failed", "cancelled"), (30, 3, 2))[0]
        if ends == "cancelled":
            await self.app.store.cancel(job.id, at, even_if_paid=False)
            return
        at += timedelta(seconds=chance.expovariate(1 / 12))
        submitting = await self.app.store.claim_queued(at, 1000, timedelta(0), MINUTE)
        if submitting is None:
            raise SystemExit("the store lets no video through")
        facts = JobUpdate(upstream_id=f"task-{job.id}", submitted_at=at)
        await self._step(submitting, MoveTo(JobState.RUNNING, facts), at)
        at += timedelta(seconds=chance.uniform(45, 170))
        running = await self._claimed(job.id, at)
        if ends == "failed":
            reason = chance.choice((FailureReason.UPSTREAM_FAILED, FailureReason.TIMED_OUT))
            await self._step(running, Fail(reason, FailureDetail(FailureCause.TASK_FAILED)), at)
            return
        cost = Decimal("0.10") if resolution is Resolution.P480 else Decimal("0.20")
        await self._step(running, MoveTo(JobState.DELIVERING, JobUpdate(cost_usd=cost)), at)
        await self._step(await self._claimed(job.id, at), MoveTo(JobState.DELIVERED), at)

    async def _claimed(self, job_id: str, at: datetime) -> Job:
        claimed = await self.app.store.claim_due(at, 1000, LEASES)
        await self.app.store.release([job for job in claimed if job.id != job_id])
        [job] = [job for job in claimed if job.id == job_id]
        return job

    async def _step(self, job: Job, outcome: Outcome, at: datetime) -> None:
        if not await self.app.store.apply(job, outcome, at):
            raise SystemExit(f"the store did not take {outcome}")


async def live_a_month(past: Past, members: Sequence[int], viewer_id: int) -> None:
    """Thirty days of one server, more at weekends and towards the end; three of the viewer's own in the last."""
    chance, now = random.Random(7), utc_now()
    for age in range(DAYS - 1, 0, -1):
        day = now - timedelta(days=age, hours=6)
        busy = (2 + 3 * (DAYS - age) / DAYS) * (1.8 if day.weekday() >= 5 else 1)  # noqa: PLR2004 - Saturday
        asked = sorted(chance.uniform(0, 6) for _ in range(round(chance.uniform(0.4, 1.4) * busy)))
        for hours in asked:  # in order: the store submits nothing before what it submitted last
            user_id = chance.choices(members, range(len(members), 0, -1))[0]
            await past.video(user_id, day + timedelta(hours=hours), chance)
    for hours in (19, 7, 2):
        await past.video(viewer_id, now - timedelta(hours=hours), random.Random(1))


async def set_up(bot: ZoetropeBot, admin: Admin, role_id: int, members: Sequence[int]) -> None:
    """What an admin would have set by commands."""
    admins = bot.services.admins
    await admins.limits.set_server(admin, LimitChanges(videos=3, usd_per_day="5", usd_per_month="40"))
    await admins.limits.set_role(admin, role_id, LimitChanges(videos=10, running=3))
    await admins.credits.grant(admin, members[0], 5, expires="30d", reason="Won the contest")
    await admins.policy.block_terms(admin, "gore, blood, 血腥")


@asynccontextmanager
async def stage() -> AsyncIterator[DemoPreview]:
    """The demo with a past, shown as a page."""
    bot = ZoetropeBot()
    with TemporaryDirectory(prefix="zoetrope-pictures-") as name:
        async with LocalGateway(Path(name) / "upstream", KEY) as gateway:
            settings = GivenSettings(
                discord_token=SecretStr("demo-token-of-no-value"),
                vtrix_api_key=SecretStr(KEY),
                vtrix_base_url=gateway.url,
                database_url=f"sqlite:///{Path(name) / 'pictures.db'}",
                quota_videos_per_day=20,
                budget_usd_per_day=None,
                budget_usd_per_month=None,
                server_budget_usd_per_day=None,
                server_budget_usd_per_month=None,
            )
            async with open_app(settings, bot) as app, OfflineDiscord(bot, manages=True) as discord:
                members, role_id = furnish(discord)
                past = Past(app, discord.guild.id, discord.channel.id)
                await live_a_month(past, members, discord.viewer.id)
                await set_up(bot, Admin(discord.guild.id, discord.viewer.id), role_id, members)
                # Without the worker: it would announce in the channel how each of those videos ended.
                async with served_page(discord) as page:
                    yield page


def furnish(discord: OfflineDiscord) -> tuple[list[int], int]:
    """More members for the demo's server, and a role; their ids."""
    env, guild = discord._env, discord.guild  # noqa: SLF001 - the demo itself has one member only
    users = [env.create_user(name.lower(), global_name=name) for name in MEMBERS]
    return [guild.add_member(user).id for user in users], guild.create_role("Boosters").id


async def send(tab: Tab, command: str, *, photo: Path | None = None, **options: str) -> Locator:
    """Fills in a command as people do and sends it; the message that answers."""
    await tab.locator(COMPOSER).click()
    await tab.keyboard.type(f"/{command}")
    title = tab.locator(".command-popup .command-entry").filter(
        has=tab.locator("strong", has_text=re.compile(f"^/{command}$"))
    )
    await title.click()
    if photo is not None:
        await tab.locator(".command-pill[data-option=image] input[type=file]").set_input_files(photo)
    for name, value in options.items():
        await fill(tab, name, value)
    answers = tab.locator(MESSAGES).filter(has_text="Only you can see this")
    before = await answers.count()
    for _ in range(2):
        # A click just after the channel changed is refused as out of date: once more, then.
        await tab.locator(SEND).click()
        try:
            await expect(tab.locator(CHIP)).to_have_count(0)
            break
        except AssertionError:
            continue
    await expect(answers).to_have_count(before + 1)
    answer = answers.last
    await expect(answer).not_to_contain_text("Thinking")
    return answer


async def fill(tab: Tab, name: str, value: str) -> None:
    """Fills in an option; adds it first where it is optional, chooses from a list where there is one."""
    pill = tab.locator(f".command-pill[data-option={name}]")
    if not await pill.count():
        await tab.locator(".command-ghost").click()
        await tab.locator(".command-suggestion", has_text=re.compile(f"^{name}")).click()
    await pill.locator("input").fill(value)
    choice = tab.locator(".command-suggestion", has_text=value)
    if await choice.count():
        await choice.first.click()


async def picture(tab: Tab, message: Locator, path: Path) -> None:
    """That message alone, whole."""
    if await tab.locator(LATEST).is_visible():
        await tab.locator(LATEST).click()
    await tab.locator(TIMELINE).evaluate("timeline => timeline.scrollTo(0, timeline.scrollHeight)")
    await tab.mouse.move(0, 0)  # else the message shows what can be done with it
    for image in await message.locator("img").all():
        await expect(image).to_have_js_property("complete", value=True)
    await asyncio.sleep(0.5)  # the page's scrolling is animated
    box = await message.bounding_box()
    if box is None:
        raise SystemExit(f"{path.name}: the message is not on the page")
    await tab.screenshot(
        path=path, clip={"x": LEFT_PX, "y": box["y"], "width": WIDTH_PX - LEFT_PX, "height": box["height"]}
    )
    sys.stdout.write(f"{path}\n")


async def run(photo: Path, folder: Path, chromium: str) -> None:
    """Drives one browser through the three commands."""
    async with stage() as page, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(QUIET_FLAGS))
        tab = await browser.new_page(
            viewport={"width": WIDTH_PX, "height": HEIGHT_PX}, device_scale_factor=SCALE, color_scheme="dark"
        )
        await tab.goto(page.url)
        await tab.locator(COMPOSER).wait_for()
        await tab.wait_for_function("() => window.simcordPreview?.ready")
        refused = await send(tab, "animate", photo=photo, prompt=PROMPT)
        await expect(refused).to_contain_text("You've used 3 of 3 videos")
        await picture(tab, refused, folder / "refusal.png")
        settings = await send(tab, "video-admin settings")
        await picture(tab, settings, folder / "settings.png")
        usage = await send(tab, "video-admin usage", period="the last 30 days")
        await usage.locator("img[alt], .attachment-media img").first.wait_for()
        await usage.locator(FILE_TEXT).evaluate(FOUR_LINES)
        await picture(tab, usage, folder / "usage.png")
        await browser.close()


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Takes pictures of the admins' side.")
    parser.add_argument("photo", type=Path)
    parser.add_argument("--pictures", type=Path, default=Path(__file__).with_name("pictures"))
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    args = parser.parse_args()
    args.pictures.mkdir(parents=True, exist_ok=True)
    asyncio.run(run(args.photo, args.pictures, args.chromium))


if __name__ == "__main__":
    main()
