"""Takes all pictures of the bot: for docs/tour.md, for the README and for docs/commands.md.

A developer's tool, not part of the bot. It starts the demo's bot and offline Discord by itself, drives a real
browser as members and admins would, and writes to `docs/pictures/`. It fails where a state is not reached:

    .venv/bin/python -m docs.tour

It needs the development tools (`make check` installs them) and a Chromium that plays H.264: Debian's does,
Playwright's own build does not. In the tour, videos render only when the script lets them, so that a state lasts
as long as its picture takes.
"""

# ruff: noqa: INP001 - a script, not a part of a package

import argparse
import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.async_api import Locator, expect

from bot.chat.transport.client import ZoetropeBot
from bot.demo.fake_renderer import RenderPool
from bot.demo.offline_discord import OfflineDiscord
from bot.demo.page import served_page
from bot.demo.preview import SAMPLE_PICTURE
from bot.demo.request_parsing import CreateRequest
from bot.demo.runner import Demo, opened, working
from bot.demo.welcome import welcome
from bot.domain.jobs import DEFAULT_DURATION_S, DEFAULT_MODEL, ProviderName, Resolution
from bot.domain.models import TaskKind
from bot.domain.task_durations import TaskDuration
from bot.services.admin.audited import Admin
from bot.services.admin.limits import LimitChanges
from bot.store.jobs import task_durations
from docs.demo_tab import DemoTab, opened_tab
from docs.invented_month import Past, live_a_month

PROMPT = "the beam sweeps over the waves"
NEXT = "the sun sinks below the horizon"
SAILING = "the boat sails past the lighthouse"
BOATS = "the boat drifts off to the left"
FAILING = "the lighthouse lifts off like a rocket"
OTHERS_PROMPT = "waves roll in"
OTHERS = ("Jonas", "Lin", "Aisha")  # they keep the video service busy
ADMINS_MEMBERS = ("Maya", "Jonas", "Lin", "Aisha", "Tomás", "Ravi", "Élodie")
USUAL_S = (38, 41, 44, 47, 52, 58, 66, 79)
"""How long earlier videos took, for what a card says about the time."""

FILE_TEXT = ".attachment-preview"  # the first lines of a text file, shown under a message
FOUR_LINES = """text => {
    const style = getComputedStyle(text);
    text.style.maxHeight = `${parseFloat(style.paddingTop) + 4 * parseFloat(style.lineHeight)}px`;
    text.style.paddingBottom = 0;
    text.style.overflow = "hidden";
}"""


class StagedPool(RenderPool):
    """Renders the videos of a prompt once `cues` has an event for it that is set."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cues: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def render(self, name: str, create: CreateRequest) -> Path:
        """Waits for its cue. Raises: OSError if it is to fail."""
        await self.cues[create.prompt].wait()
        if create.prompt == FAILING:
            raise OSError("the script wants a failure")
        return await super().render(name, create)


class Tour:
    """Goes through the states of a video, taking a picture of each."""

    def __init__(self, demo: Demo, pool: StagedPool, tab: DemoTab, folder: Path) -> None:
        self.demo, self.pool, self.tab, self.folder = demo, pool, tab, folder

    async def run(self) -> None:
        """All states, in the order in which one leads to the next."""
        await self.queued_and_running()
        await self.done()
        await self.extended()
        await self.variations()
        await self.cancelled()
        await self.failed()
        await self.awaiting()
        await self.private_answers()

    async def picture(self, message: Locator, name: str) -> None:
        """That message, as `name`."""
        await self.tab.picture(message, self.folder / f"{name}.webp")

    async def order(self, prompt: str = PROMPT, **options: str) -> Locator:
        """Orders a video; the private answer."""
        return await self.tab.send("animate", photo=SAMPLE_PICTURE, prompt=prompt, **options)

    async def queued_and_running(self) -> None:
        """Three others keep both slots of the video service busy, so that the viewer waits behind one of them."""
        discord = self.demo.discord
        photo = SAMPLE_PICTURE.read_bytes()
        elsewhere = discord.add_channel("animations", topic="More videos")
        for name in OTHERS:
            member = discord.add_member(name)
            await member.slash(elsewhere, "animate", image=("harbour.jpg", photo), prompt=OTHERS_PROMPT)
        await self.picture(await self.order(), "accepted")
        card = self.tab.message("@You")
        await expect(card).to_contain_text("before it")
        await self.picture(card, "queued")
        self.pool.cues[OTHERS_PROMPT].set()
        await expect(card).to_contain_text("▰▰▰")
        await expect(card).to_contain_text("Being made")
        await self.picture(card, "running")
        await self.tab.phone_picture(card, self.folder / "running-phone.webp")

    async def done(self) -> None:
        """The viewer's video is there."""
        self.pool.cues[PROMPT].set()
        video = self.tab.message("here's your video").filter(has_text=PROMPT)
        await self.tab.play(video, until_s=2)
        await self.picture(video, "done")
        await self.tab.screen_picture(video, self.folder / "demo.webp")
        await self.tab.phone_picture(video, self.folder / "done-phone.webp")
        await self.picture(await self.tab.ask(video, "Info"), "info")
        await self.tab.click(video, "Edit")
        await self.tab.dialog_picture(self.folder / "edit.webp")
        await self.tab.close_dialog()

    async def extended(self) -> None:
        """The video goes on."""
        await self.tab.click(self.tab.message("here's your video").filter(has_text=PROMPT), "Extend")
        await self.tab.dialog_picture(self.folder / "extend.webp")
        self.pool.cues[NEXT].set()
        await self.picture(await self.tab.submit(NEXT), "extend-accepted")
        video = self.tab.message(NEXT).filter(has=self.tab.page.locator("video"))
        await self.tab.play(video, until_s=6)
        await self.picture(video, "extended")

    async def variations(self) -> None:
        """Four videos of one picture and prompt."""
        await self.order(SAILING, variations="4")
        card = self.tab.message("Videos for")
        self.pool.cues[SAILING].set()
        await expect(card).to_contain_text("✅")
        await self.picture(card, "variations")
        await self.tab.phone_picture(card, self.folder / "variations-phone.webp")
        await expect(card).to_have_count(0)

    async def cancelled(self) -> None:
        """A video that is being made is cancelled."""
        await self.order(BOATS)
        card = self.tab.message(BOATS)
        await expect(card).to_contain_text("Being made")
        question = await self.tab.ask(card, "Cancel")
        await self.picture(question, "cancel-question")
        await self.tab.click(question, "Cancel anyway")
        await expect(card).to_contain_text("Cancelled")
        await self.picture(card, "cancelled")
        self.pool.cues[BOATS].set()
        await expect(card).to_have_count(0)

    async def failed(self) -> None:
        """The video service fails."""
        self.pool.cues[FAILING].set()
        await self.order(FAILING)
        note = self.tab.message(FAILING)
        await expect(note.get_by_role("button", name="Remove")).to_be_visible()
        await self.picture(note, "failed")

    async def awaiting(self) -> None:
        """The server lets moderators decide."""
        await self.tab.look_as("Maya, #moderators")
        await self.tab.send("video-admin approval", needed="on")
        await self.tab.look_as("You, #videos")
        await self.order("fireworks burst above the sea")
        card = self.tab.message("Waiting for a moderator")
        await self.picture(card, "awaiting")
        await self.tab.look_as("Maya, #moderators")
        request = self.tab.message("fireworks")
        await self.picture(request, "approval")
        await self.tab.look_as("You, #videos")

    async def private_answers(self) -> None:
        """What members ask for about their own videos."""
        listed = await self.tab.send("videos list")
        await self.picture(listed, "list")
        await self.tab.phone_picture(listed, self.folder / "list-phone.webp")
        await self.picture(await self.tab.send("videos settings"), "settings")
        await self.picture(await self.tab.send("videos quota"), "quota")
        await self.picture(await self.tab.send("help"), "help")


async def take_tour(folder: Path, chromium: str) -> None:
    """The members' side."""
    with TemporaryDirectory(prefix="zoetrope-tour-") as name:
        pool = StagedPool(Path(name))
        async with opened(pool=pool, quota_running=4) as demo:
            kind = TaskKind(ProviderName.VTRIX, DEFAULT_MODEL, Resolution.P720, DEFAULT_DURATION_S)
            async with demo.app.database.write() as connection:
                for seconds in USUAL_S:
                    await task_durations.record(connection, kind, TaskDuration(seconds - 2, seconds))
            async with working(demo):
                await welcome(demo.discord)
                async with served_page(demo.discord) as page, opened_tab(page.url, chromium) as tab:
                    await Tour(demo, pool, tab, folder).run()


async def set_up(demo: Demo, admin: Admin, role_id: int, members: Sequence[int]) -> None:
    """What an admin would have set by commands."""
    bot = demo.app.client
    if not isinstance(bot, ZoetropeBot):
        raise SystemExit("the demo's bot takes no commands")
    admins = bot.services.admins
    await admins.limits.set_server(admin, LimitChanges(videos=3, usd_per_day="5", usd_per_month="40"))
    await admins.limits.set_role(admin, role_id, LimitChanges(videos=10, running=3))
    await admins.credits.grant(admin, members[0], 5, expires="30d", reason="Won the contest")
    await admins.policy.block_terms(admin, "gore, blood, 血腥")


def furnish(discord: OfflineDiscord) -> tuple[list[int], int]:
    """More members for the demo's server, and a role; their ids."""
    members = [discord.add_member(name).id for name in ADMINS_MEMBERS]
    return members, discord.guild.create_role("Boosters").id


@asynccontextmanager
async def server_with_a_past(chromium: str) -> AsyncIterator[DemoTab]:
    """The demo after thirty days, as an admin sees it."""
    budgets = dict.fromkeys(("budget_usd_per_day", "budget_usd_per_month"))
    async with opened(manages=True, **budgets) as demo:
        guild, channel, viewer = demo.discord.guild, demo.discord.channel, demo.discord.viewer
        members, role_id = furnish(demo.discord)
        await live_a_month(Past(demo.app, guild.id, channel.id), members, viewer.id)
        await set_up(demo, Admin(guild.id, viewer.id), role_id, members)
        # Without the worker: it would announce in the channel how each of those videos ended.
        async with served_page(demo.discord) as page, opened_tab(page.url, chromium) as tab:
            yield tab


async def take_admins_side(folder: Path, chromium: str) -> None:
    """The settings, a month's use, and a refusal that names its limit."""
    async with server_with_a_past(chromium) as tab:
        refused = await tab.send("animate", photo=SAMPLE_PICTURE, prompt=PROMPT)
        await expect(refused).to_contain_text("You've used 3 of 3 videos")
        await tab.picture(refused, folder / "refused.webp")
        await tab.picture(await tab.send("video-admin settings"), folder / "admin-settings.webp")
        usage = await tab.send("video-admin usage", period="the last 30 days")
        await usage.locator("img[alt], .attachment-media img").first.wait_for()
        await usage.locator(FILE_TEXT).evaluate(FOUR_LINES)
        await tab.picture(usage, folder / "usage.webp")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Takes all pictures of the bot.")
    parser.add_argument("--pictures", type=Path, default=Path(__file__).with_name("pictures"))
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--only", choices=("tour", "admins"), help="one of the two parts")
    args = parser.parse_args()
    args.pictures.mkdir(parents=True, exist_ok=True)
    if args.only != "admins":
        asyncio.run(take_tour(args.pictures, args.chromium))
    if args.only != "tour":
        asyncio.run(take_admins_side(args.pictures, args.chromium))


if __name__ == "__main__":
    main()
