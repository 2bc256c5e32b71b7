"""The bot as a member's own app: in a server where it isn't a member itself."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from bot.domain.jobs import Job, JobState
from bot.store.schema import interaction_tokens
from tests.discord_server import Channel, DiscordServer, Interaction, Message
from tests.faulty_gateway import FaultyGateway
from tests.forged.harness import KEY, WITHIN_S, ForgeryHarness, open_harness


@asynccontextmanager
async def outside(folder: Path) -> AsyncIterator[tuple[DiscordServer, FaultyGateway, Channel]]:
    """Discord, the gateway, and a channel of a server where the bot isn't a member."""
    async with DiscordServer() as server, FaultyGateway(folder / "upstream", KEY) as upstream:
        guild = server.state.add_guild_without_bot("Elsewhere", server.member)
        yield server, upstream, server.state.add_channel(guild, "lounge")


def harness_of(
    folder: Path, server: DiscordServer, upstream: FaultyGateway, **changes: Any
) -> AbstractAsyncContextManager[ForgeryHarness]:
    return open_harness(folder, server, upstream, direct_orders=True, **changes)


@asynccontextmanager
async def own_app(folder: Path, **changes: Any) -> AsyncIterator[tuple[ForgeryHarness, Channel]]:
    """The bot, and a channel of a server where it isn't a member."""
    async with (
        outside(folder) as (server, upstream, channel),
        harness_of(folder, server, upstream, **changes) as harness,
    ):
        yield harness, channel


def content(asked: Interaction) -> str:
    return "" if asked.original is None else asked.original.content


async def order(harness: ForgeryHarness, channel: Channel, prompt: str = "a heron", **options: Any) -> Interaction:
    return await harness.order(prompt, channel=channel, **options)


async def with_video(harness: ForgeryHarness, channel: Channel) -> Message:
    return await harness.discord.state.until(
        lambda: next((m for m in harness.discord.messages(channel.id) if m.attachments), None), timeout_s=WITHIN_S
    )


def videos_put(harness: ForgeryHarness) -> int:
    """How often a video was put into an answer."""
    return sum(bool(call.uploads) for call in harness.discord.calls("PATCH", "/webhooks/"))


async def delivered(harness: ForgeryHarness, prompt: str = "a heron") -> Job:
    while (job := await harness.job(prompt)).state is not JobState.DELIVERED:
        await harness.app.store.release([])
    return job


async def kept_tokens(harness: ForgeryHarness) -> int:
    async with harness.app.database.read() as connection:
        return await connection.scalar(select(func.count()).select_from(interaction_tokens)) or 0
