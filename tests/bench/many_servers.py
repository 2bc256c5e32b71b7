"""How long a client takes until it knows thousands of servers, and how much memory: discord.py's, and the bot's.

The local Discord runs in a process of its own and sends servers of 25 channels and 15 roles, in shards of a
thousand. Time to ready includes making and sending them, which is the same for both, and discord.py's two seconds.
"""

import argparse
import asyncio
import gc
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psutil  # type: ignore[import-untyped]

from bot.chat.transport.client import ZoetropeBot  # in both processes, for what modules take
from bot.chat.transport.endpoints import redirect
from tests.bench.report import HERE, Checkout, Row
from tests.bench.report import run as run_benchmark
from tests.bench.server_memory import plain, server_payload, snowflake
from tests.discord_server import DiscordServer
from tests.discord_server.models import Guild, Json, User

COUNTS = (2_000, 20_000)
PER_SHARD = 1_000
_WITHIN_S = 1_800.0
_BUCKETS = 64
"""As many sessions may start at once, so that both clients are measured and not Discord's limit."""


class MadeWhenSent(Guild):
    """A guild that consists of its number until it is sent."""

    def create_json(self, bot: User) -> Json:
        """See `server_payload`."""
        return server_payload(int(self.name), bot.id)


async def serve(servers: int) -> None:
    """The local Discord, until its input ends; prints where it listens."""
    async with DiscordServer() as discord:
        gateway, state = discord.gateway, discord.state
        gateway.shards, gateway.max_concurrency = max(1, servers // PER_SHARD), _BUCKETS
        state.guilds.clear()
        for number in range(servers):
            guild_id = int(snowflake(number * 1000))
            state.guilds[guild_id] = MadeWhenSent(str(number), discord.member, id=guild_id)
        where = {"api": discord.api_url, "gateway": discord.gateway_url, "token": discord.token}
        print(json.dumps(where), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def connect(kind: str, where: dict[str, str], servers: int) -> None:
    """Connects a client until all servers are known; prints what that took."""
    client = ZoetropeBot() if kind == "slim" else plain()
    if kind == "plain":
        client.before_identify_hook = _at_once  # type: ignore[method-assign]
    else:
        client.setup_hook = _nothing  # type: ignore[method-assign]
    own = psutil.Process()
    with redirect(where["api"], where["gateway"]):
        async with client:
            await client.login(where["token"])
            gc.collect()
            before, began = own.memory_info().rss, time.monotonic()
            cpu = sum(own.cpu_times()[:2])
            running = asyncio.create_task(client.connect())
            await client.wait_until_ready()
            state: Any = client._connection
            while sum(_is_known(state, guild_id) for guild_id in list(state._guilds)) < servers:
                await asyncio.sleep(1)
            ready_s = time.monotonic() - began
            gc.collect()
            used = {
                "ready_s": ready_s,
                "cpu_s": sum(own.cpu_times()[:2]) - cpu,
                "rss_mb": own.memory_info().rss / 1e6,
                "more_mb": (own.memory_info().rss - before) / 1e6,
            }
            print(json.dumps(used), flush=True)
            await client.close()
            await running


def _is_known(state: Any, guild_id: int) -> bool:
    packed = getattr(state, "packed", None)
    if packed is not None:  # an object of each would take memory
        return packed._packed[guild_id] is not None
    return not state._guilds[guild_id].unavailable


async def _at_once(shard_id: int | None, *, initial: bool = False) -> None:
    """Instead of discord.py's five seconds."""


async def _nothing() -> None:
    """No commands are loaded."""


@asynccontextmanager
async def child(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """This module in a process of its own, which ends with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.many_servers", *arguments),
        cwd=HERE,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def measured(kind: str, servers: int) -> dict[str, float]:
    """What one client takes for so many servers."""
    async with asyncio.timeout(_WITHIN_S), child("--serve", str(servers)) as discord:
        assert discord.stdout is not None
        where = (await discord.stdout.readline()).decode()
        async with child("--connect", kind, where, str(servers)) as client:
            assert client.stdout is not None
            found: dict[str, float] = json.loads(await client.stdout.readline())
            return found


def rows(counts: tuple[int, ...]) -> Iterator[Row]:
    """The rows of each number of servers."""
    for servers in counts:
        ours, theirs = (asyncio.run(measured(kind, servers)) for kind in ("slim", "plain"))
        print(f"{servers}: ours {ours}, discord.py's {theirs}", file=sys.stderr, flush=True)
        yield Row(f"RSS with {servers} servers", ours["rss_mb"], theirs["rss_mb"], "MB", target=0.9)
        yield Row(f"time to know {servers} servers", ours["ready_s"], theirs["ready_s"], "s", target=1.2)
        yield Row(f"CPU to know {servers} servers", ours["cpu_s"], theirs["cpu_s"], "s", target=1.2)


def measure(checkout: Checkout) -> Iterator[Row]:
    """All rows."""
    del checkout
    yield from rows(COUNTS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--serve", type=int)
    parser.add_argument("--connect", nargs=3)
    options, _ = parser.parse_known_args()
    if options.serve is not None:
        asyncio.run(serve(options.serve))
    elif options.connect is not None:
        asyncio.run(connect(options.connect[0], json.loads(options.connect[1]), int(options.connect[2])))
    else:
        run_benchmark(measure)
