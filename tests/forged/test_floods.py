"""A member who sends as much as a script can: what it costs the house, counted on the wire."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.chat.permissions.user_rate_limiter import ACTS, BAD_PICTURES, LETTERS, UserRateLimiter
from bot.demo.gateway import LocalGateway
from bot.domain.guilds import GuildSettings, PolicyEntry, PolicyEntryKind
from bot.services.admin.audited import Admin
from bot.services.admin.limits import Wanted
from tests.cogs.conftest import a_picture
from tests.discord_server import DiscordServer, Interaction
from tests.discord_server.interactions import Kind
from tests.forged.stage import KEY, WITHIN_S, Leisure, Stage, a_stage

QUOTA = 3
STRIKES = GuildSettings().violation_limit


@asynccontextmanager
async def a_house(folder: Path, **changes: Any) -> AsyncIterator[Stage]:
    async with (
        DiscordServer() as place,
        LocalGateway(folder=folder / "upstream", api_key=KEY, render=False) as upstream,
        a_stage(folder, place, upstream, quota_videos_per_day=QUOTA, quota_running=QUOTA, **changes) as stage,
    ):
        yield stage


def within_one_moment() -> UserRateLimiter:
    """However long a test takes on a busy machine, to the bot it is one moment."""
    return UserRateLimiter(clock=lambda: 1000.0)


def fetched(stage: Stage) -> int:
    return len(stage.discord.calls("GET", "/cdn/"))


def callbacks(stage: Stage) -> int:
    return len(stage.discord.calls("POST", "/interactions/"))


async def animate(
    stage: Stage, number: int, picture: bytes | None = None, prompt: str = "flood"
) -> list[Interaction]:
    """So many orders of the first member's, one right after the other."""
    files = {"image": picture or a_picture()}
    return [
        await stage.discord.slash("animate", options={"prompt": prompt}, attachments=files) for _ in range(number)
    ]


async def test_a_thousand_orders_cost_no_more_than_the_quota_and_keep_nobody_else_waiting(tmp_path: Path) -> None:
    async with a_house(tmp_path, pace=within_one_moment()) as stage, stage.working():
        other = stage.discord.world.add_member(stage.discord.guild, "other")
        flood = await animate(stage, 500)
        theirs = await stage.order("an ordinary order", other)
        flood += await animate(stage, 500)
        await stage.nothing_left(other)
        for asked in flood[:ACTS]:
            await stage.said(asked)
        await stage.discord.world.until(
            lambda: sum(bool(m.attachments) for m in stage.discord.messages()) > QUOTA, timeout_s=WITHIN_S
        )

        answered = [asked for asked in flood if asked.callback is not None]
        assert "Got it!" in await stage.said(theirs)
        assert len(stage.upstream.received) == QUOTA + 1
        assert fetched(stage) <= QUOTA + 1
        assert len(answered) == ACTS + 1
        assert "That was a lot at once" in await stage.said(answered[-1])
        assert callbacks(stage) == ACTS + 3


async def test_without_the_bound_of_acts_orders_at_once_still_fetch_no_more_than_the_quota(tmp_path: Path) -> None:
    async with a_house(tmp_path) as stage:
        flood = await animate(stage, 40)
        said = [await stage.said(asked) for asked in flood]

        assert sum("Got it!" in text for text in said) == QUOTA
        assert fetched(stage) == QUOTA


async def test_a_thousand_clicks_and_letters_are_answered_within_their_bounds(tmp_path: Path) -> None:
    async with a_house(tmp_path, pace=within_one_moment()) as stage:
        here, mia = stage.discord.channel, stage.discord.member
        other = stage.discord.world.add_member(stage.discord.guild, "other")
        await stage.nothing_left(other)
        before, known = await stage.everything(), stage.discord.commands.find("videos", stage.discord.guild.id)
        assert known is not None
        typing = {"name": "video", "type": 3, "value": "", "focused": True}
        data = {
            "id": known["id"],
            "name": "videos",
            "type": 1,
            "options": [{"name": "cancel", "type": 1, "options": [typing]}],
        }
        clicks = [stage.click("zoetrope:cancel:nosuchvideo", mia, here) for _ in range(1000)]
        letters = [stage.send(Kind.AUTOCOMPLETE, mia, here, data) for _ in range(LETTERS + 100)]
        await stage.nothing_left(other)
        for letter in letters:
            await letter.acknowledged(timeout_s=WITHIN_S)
        for click in clicks[: ACTS + 1]:
            await stage.said(click)

        assert sum(click.callback is not None for click in clicks) == ACTS + 1
        assert await stage.everything() == before


async def test_pictures_that_are_none_are_fetched_so_often_and_no_more(tmp_path: Path) -> None:
    async with a_house(tmp_path, pace=UserRateLimiter(clock=Leisure(step_s=2))) as stage:
        before = await stage.everything()
        said = []
        for _ in range(BAD_PICTURES + 5):
            [asked] = await animate(stage, 1, b"no picture at all")
            said.append(await stage.said(asked))

        assert fetched(stage) == BAD_PICTURES
        assert [("Too many of your recent pictures" in text) for text in said] == [False] * BAD_PICTURES + [
            True
        ] * 5
        assert await stage.everything() == before


async def refuse_by_ban(stage: Stage, chief: Admin) -> None:
    await stage.bot.services.admins.bans.ban(chief, stage.discord.member.id, "spam", None)


async def refuse_by_pause(stage: Stage, chief: Admin) -> None:
    await stage.bot.services.admins.settings.pause(chief)


async def refuse_by_word(stage: Stage, chief: Admin) -> None:
    await stage.bot.services.admins.rulebook.set_strikes(chief, 0, None)
    await stage.bot.services.admins.rulebook.add_words(chief, "flood")


async def refuse_by_quota(stage: Stage, chief: Admin) -> None:
    await stage.bot.services.admins.limits.set_server(chief, Wanted(videos=0))


async def refuse_by_channel(stage: Stage, chief: Admin) -> None:
    place = PolicyEntry(PolicyEntryKind.CHANNEL, stage.discord.channel.id, allowed=False)
    await stage.bot.services.admins.rulebook.set_place(chief, place)


@pytest.mark.parametrize(
    "why", [refuse_by_ban, refuse_by_pause, refuse_by_word, refuse_by_quota, refuse_by_channel]
)
async def test_who_may_order_nothing_has_no_picture_fetched_and_the_moderators_hear_of_it_once(
    tmp_path: Path, why: Callable[[Stage, Admin], Awaitable[None]]
) -> None:
    async with a_house(tmp_path) as stage:
        chief = Admin(stage.discord.guild.id, 9)
        log = stage.discord.world.add_channel(stage.discord.guild, "log")
        stage.discord.gateway.dispatch("CHANNEL_CREATE", log.json(), intent="guilds")
        await stage.bot.services.admins.settings.log_to(chief, log.id)
        await why(stage, chief)

        for asked in await animate(stage, 8):
            assert "Got it!" not in await stage.said(asked)
        [last] = await animate(stage, 1)
        await stage.said(last)
        async with stage.working():
            await stage.saying("was refused", channel=log)

        assert fetched(stage) == 0
        assert len([m for m in stage.discord.messages(log.id) if "was refused" in m.content]) == 1


async def test_blocked_words_sent_all_at_once_are_a_single_pause_and_few_reports(tmp_path: Path) -> None:
    async with a_house(tmp_path, pace=within_one_moment()) as stage:
        chief = Admin(stage.discord.guild.id, 9)
        log = stage.discord.world.add_channel(stage.discord.guild, "log")
        await stage.bot.services.admins.settings.log_to(chief, log.id)
        await stage.bot.services.admins.rulebook.add_words(chief, "flood")

        for asked in (await animate(stage, 100))[:ACTS]:
            await stage.said(asked)
        async with stage.working():
            await stage.saying("is paused", channel=log)
            await stage.settled()

        told = "\n".join(message.content for message in stage.discord.messages(log.id))
        assert fetched(stage) == 0
        assert told.count("is paused") == 1
        assert 1 <= told.count("was refused") <= STRIKES
