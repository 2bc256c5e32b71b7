"""The whole bot of a checkout in a process of its own, in front of the local Discord, for benchmarks of it."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.bench.report import Checkout
from tests.discord_server import DiscordServer

_NOTHING_LISTENS = "http://127.0.0.1:9"
_WITHIN_S = 120.0


@asynccontextmanager
async def running_bot(
    checkout: Checkout, discord: DiscordServer, also: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`zoetrope run` on an empty SQLite database; killed at the end. also: settings."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "DISCORD_TOKEN": discord.token,
            "DISCORD_API_URL": discord.api_url,
            "DISCORD_GATEWAY_URL": discord.gateway_url,
            "VTRIX_API_KEY": "key-of-the-benchmark",
            "VTRIX_BASE_URL": _NOTHING_LISTENS,
            "DATABASE_URL": f"sqlite:///{Path(folder) / 'zoetrope.db'}",
            **(also or {}),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "run"),
            env=checkout.environment(settings),
            cwd=folder,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def until_commands_are_synced(discord: DiscordServer) -> None:
    """Waits until Discord has accepted the bot's commands."""
    path = f"/applications/{discord.state.bot.id}/commands"
    await discord.state.until(lambda: any(call.status for call in discord.calls("PUT", path)), timeout_s=_WITHIN_S)


async def until_connected(discord: DiscordServer) -> None:
    """Waits until the bot is connected to the gateway."""
    await discord.state.until(lambda: discord.gateway.live, timeout_s=_WITHIN_S)
