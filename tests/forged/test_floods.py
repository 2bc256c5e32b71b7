"""A member who sends requests as fast as a script can: what it costs, counted on the wire."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.chat.permissions.user_rate_limiter import ACTIONS, AUTOCOMPLETES, BAD_PICTURES, UserRateLimiter
from bot.domain.guilds import GuildSettings, PolicyEntry, PolicyEntryKind
from bot.services.admin.audited import Admin
from bot.services.admin.limits import LimitChanges
from tests.cogs.conftest import sample_picture
from tests.discord_server import DiscordServer, Interaction
from tests.discord_server.interactions import Kind
from tests.faulty_gateway import FaultyGateway
from tests.forged.harness import KEY, WITHIN_S, ForgeryHarness, SteppingClock, open_harness

pytestmark = pytest.mark.full

QUOTA = 3
STRIKES = GuildSettings().violation_limit


@asynccontextmanager
async def quota_harness(folder: Path, **changes: Any) -> AsyncIterator[ForgeryHarness]:
    async with (
        DiscordServer() as server,
        FaultyGateway(folder / "upstream", KEY) as upstream,
        open_harness(
            folder, server, upstream, quota_videos_per_day=QUOTA, quota_running=QUOTA, **changes
        ) as harness,
    ):
        yield harness


def frozen_rate_limiter() -> UserRateLimiter:
    """A rate limiter whose clock stands still, however long the test takes."""
    return UserRateLimiter(clock=lambda: 1000.0)


def fetched(harness: ForgeryHarness) -> int:
    return len(harness.discord.calls("GET", "/cdn/"))


def callbacks(harness: ForgeryHarness) -> int:
    return len(harness.discord.calls("POST", "/interactions/"))


async def animate(
    harness: ForgeryHarness, number: int, picture: bytes | None = None, prompt: str = "flood"
) -> list[Interaction]:
    """Sends `number` orders by the first member, without waiting for replies."""
    files = {"image": picture or sample_picture()}
    return [
        await harness.discord.slash("animate", options={"prompt": prompt}, attachments=files)
        for _ in range(number)
    ]


async def test_a_thousand_orders_cost_no_more_than_the_quota_and_delay_nobody_else(tmp_path: Path) -> None:
    async with quota_harness(tmp_path, limiter=frozen_rate_limiter()) as harness, harness.worker_running():
        other = harness.discord.state.add_member(harness.discord.guild, "other")
        flood = await animate(harness, 500)
        theirs = await harness.order("an ordinary order", other)
        flood += await animate(harness, 500)
        await harness.wait_until_handled(other)
        for asked in flood[:ACTIONS]:
            await harness.private_reply(asked)
        await harness.discord.state.until(
            lambda: sum(m.has_video for m in harness.discord.messages()) > QUOTA, timeout_s=WITHIN_S
        )

        refused = [await harness.private_reply(asked) for asked in flood[ACTIONS:]]
        assert "Got it!" in await harness.private_reply(theirs)
        assert len(harness.upstream.received) == QUOTA + 1
        assert fetched(harness) <= QUOTA + 1
        assert all("That was a lot at once" in text for text in refused)
        assert callbacks(harness) == len(flood) + 2


async def test_without_the_rate_limit_concurrent_orders_fetch_no_more_than_the_quota(tmp_path: Path) -> None:
    async with quota_harness(tmp_path) as harness:
        flood = await animate(harness, 40)
        said = [await harness.private_reply(asked) for asked in flood]

        assert sum("Got it!" in text for text in said) == QUOTA
        assert fetched(harness) == QUOTA


async def test_a_thousand_clicks_and_autocompletes_are_answered_within_the_rate_limits(tmp_path: Path) -> None:
    async with quota_harness(tmp_path, limiter=frozen_rate_limiter()) as harness:
        here, mia = harness.discord.channel, harness.discord.member
        other = harness.discord.state.add_member(harness.discord.guild, "other")
        await harness.wait_until_handled(other)
        before, known = (
            await harness.database_rows(),
            harness.discord.commands.find("videos", harness.discord.guild.id),
        )
        assert known is not None
        typing = {"name": "video", "type": 3, "value": "", "focused": True}
        data = {
            "id": known["id"],
            "name": "videos",
            "type": 1,
            "options": [{"name": "cancel", "type": 1, "options": [typing]}],
        }
        clicks = [harness.click("zoetrope:cancel:nosuchvideo", mia, here) for _ in range(1000)]
        letters = [harness.send(Kind.AUTOCOMPLETE, mia, here, data) for _ in range(AUTOCOMPLETES + 100)]
        await harness.wait_until_handled(other)
        for letter in letters:
            await letter.acknowledged(timeout_s=WITHIN_S)
        for click in clicks[: ACTIONS + 1]:
            await harness.private_reply(click)

        assert sum(click.callback is not None for click in clicks) == ACTIONS + 1
        assert await harness.database_rows() == before


async def test_invalid_pictures_are_fetched_a_limited_number_of_times(tmp_path: Path) -> None:
    async with quota_harness(tmp_path, limiter=UserRateLimiter(clock=SteppingClock(step_s=2))) as harness:
        before = await harness.database_rows()
        said = []
        for _ in range(BAD_PICTURES + 5):
            [asked] = await animate(harness, 1, b"no picture at all")
            said.append(await harness.private_reply(asked))

        assert fetched(harness) == BAD_PICTURES
        assert [("Too many of your recent pictures" in text) for text in said] == [False] * BAD_PICTURES + [
            True
        ] * 5
        assert await harness.database_rows() == before


async def refuse_by_ban(harness: ForgeryHarness, admin: Admin) -> None:
    await harness.bot.services.admins.bans.ban(admin, harness.discord.member.id, "spam", None)


async def refuse_by_pause(harness: ForgeryHarness, admin: Admin) -> None:
    await harness.bot.services.admins.settings.set_paused(admin, paused=True)


async def refuse_by_word(harness: ForgeryHarness, admin: Admin) -> None:
    await harness.bot.services.admins.policy.set_violation_limit(admin, 0, None)
    await harness.bot.services.admins.policy.block_terms(admin, "flood")


async def refuse_by_quota(harness: ForgeryHarness, admin: Admin) -> None:
    await harness.bot.services.admins.limits.set_server(admin, LimitChanges(videos=0))


async def refuse_by_channel(harness: ForgeryHarness, admin: Admin) -> None:
    entry = PolicyEntry(PolicyEntryKind.CHANNEL, harness.discord.channel.id, allowed=False)
    await harness.bot.services.admins.policy.set_entry(admin, entry)


@pytest.mark.parametrize(
    "why", [refuse_by_ban, refuse_by_pause, refuse_by_word, refuse_by_quota, refuse_by_channel]
)
async def test_a_refused_members_picture_is_not_fetched_and_moderators_are_notified_once(
    tmp_path: Path, why: Callable[[ForgeryHarness, Admin], Awaitable[None]]
) -> None:
    async with quota_harness(tmp_path) as harness:
        admin = Admin(harness.discord.guild.id, 9)
        log = harness.discord.state.add_channel(harness.discord.guild, "log")
        harness.discord.gateway.dispatch("CHANNEL_CREATE", log.json(), intent="guilds")
        await harness.bot.services.admins.settings.log_to(admin, log.id)
        await why(harness, admin)

        for asked in await animate(harness, 8):
            assert "Got it!" not in await harness.private_reply(asked)
        [last] = await animate(harness, 1)
        await harness.private_reply(last)
        async with harness.worker_running():
            await harness.wait_for_message("was refused", channel=log)

        assert fetched(harness) == 0
        assert len([m for m in harness.discord.messages(log.id) if "was refused" in m.content]) == 1


async def test_many_blocked_prompts_at_once_cause_one_pause_and_few_reports(tmp_path: Path) -> None:
    async with quota_harness(tmp_path, limiter=frozen_rate_limiter()) as harness:
        admin = Admin(harness.discord.guild.id, 9)
        log = harness.discord.state.add_channel(harness.discord.guild, "log")
        await harness.bot.services.admins.settings.log_to(admin, log.id)
        await harness.bot.services.admins.policy.block_terms(admin, "flood")

        for asked in (await animate(harness, 100))[:ACTIONS]:
            await harness.private_reply(asked)
        async with harness.worker_running():
            await harness.wait_for_message("is paused", channel=log)
            await harness.wait_until_notified()

        told = "\n".join(message.content for message in harness.discord.messages(log.id))
        assert fetched(harness) == 0
        assert told.count("is paused") == 1
        assert 1 <= told.count("contains a blocked word") <= STRIKES
        # Those that came with them are refused for being too many, or for the pause; each is reported once.
        for why in ("as many videos in progress", "they're paused"):
            assert told.count(why) <= 1
