"""What delivering finished videos takes: time for one, memory for many at once.

The baseline downloads and posts the same file with plain aiohttp, in a process of its own. One by one, the bot and
the baseline take turns, so that both meet the same noise. The bot's part of one delivery is what lies between the
request for its result and its message, as seen from outside.
"""

import asyncio
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Self

import psutil  # type: ignore[import-untyped]  # it has no types
from aiohttp import web

from tests.bench.pictures import PLENTY
from tests.bench.report import Checkout, Row, run
from tests.bench.whole_bot import running_bot, until_commands_are_synced, until_connected
from tests.cogs.conftest import sample_picture
from tests.discord_server import DiscordServer
from tests.faulty_gateway import FaultyGateway

MANY, SERVERS, SINGLE = 50, 10, 11
VIDEO_BYTES = 10_000_000
WITHIN_S = 120.0
LONG_S = 1e6
QUIET_S = 2.0
KEY = "key-of-the-benchmark"
BARE = Path(__file__).with_name("bare_delivery.py")
SETTINGS = PLENTY | {
    "VTRIX_API_KEY": KEY,
    "UPSTREAM_MAX_RUNNING": str(MANY),
    "UPSTREAM_SUBMITS_PER_SECOND": "50",
    "POLL_MIN_SECONDS": "1",
    "POLL_MAX_SECONDS": "2",
}


class Upstream(FaultyGateway):
    """A gateway with videos of 10 MB. requests: when each result was asked for, and its address.

    gate: results are sent while it is open.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, KEY)
        self.gate = asyncio.Event()
        self.gate.set()
        self._video = folder / "same.mp4"
        self.requests: list[tuple[float, str]] = []

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        padding = VIDEO_BYTES - self._video.stat().st_size
        with self._video.open("ab") as file:
            file.write(padding.to_bytes(4, "big") + b"free" + bytes(padding - 8))
        return self

    async def _result(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((time.perf_counter(), str(request.url)))
        await self.gate.wait()
        return await super()._result(request)


@dataclass(frozen=True)
class Costs:
    """What delivering takes: seconds for one video, memory for many at once."""

    one_s: float
    many_bytes: int


@dataclass(frozen=True)
class Bare:
    """A process of the baseline. deliver: so many videos side by side; returns the seconds."""

    pid: int
    deliver: Callable[[int], Awaitable[float]]


Settings = dict[str, str]


async def order(discord: DiscordServer, number: int = 0) -> None:
    """A new member orders a video, in one of several servers: each may do only so much at once."""
    guilds = list(discord.state.guilds.values())
    channel = next(iter(guilds[number % len(guilds)].channels.values()))
    member = discord.state.add_member(channel.guild, "member")
    await discord.slash(
        "animate", member, channel, options={"prompt": "waves"}, attachments={"image": sample_picture()}
    )


async def until_posted(discord: DiscordServer, count: int) -> float:
    """Waits for so many videos; returns when the last was there."""

    def are_posted() -> bool:
        channels = list(discord.state.channels)
        return sum(bool(one.attachments) for channel in channels for one in discord.messages(channel)) >= count

    await discord.state.until(are_posted, timeout_s=WITHIN_S)
    return time.perf_counter()


async def open_gate(upstream: Upstream) -> None:
    """Opens the gate once no further request comes: all that can be sent at once is sent at once."""
    seen = -1
    while seen < len(upstream.requests):
        seen = len(upstream.requests)
        await asyncio.sleep(QUIET_S)
    upstream.gate.set()


async def added_bytes(pid: int, work: Awaitable[object]) -> int:
    """How much memory a process takes at most while something is done, above what it took before."""
    process = psutil.Process(pid)
    before = most = process.memory_info().rss
    doing = asyncio.ensure_future(work)
    while not doing.done():
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(0.01)
    await doing
    return int(most - before)


@asynccontextmanager
async def bare(discord: DiscordServer, upstream: Upstream) -> AsyncIterator[Bare]:
    """A new process with plain aiohttp, which delivers the last result."""
    messages = f"{discord.api_url}/channels/{discord.channel.id}/messages"
    arguments = str(BARE), upstream.requests[-1][1], messages, discord.token
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=PIPE, stdout=PIPE)
    given, output = process.stdin, process.stdout
    assert given is not None
    assert output is not None

    async def deliver(count: int) -> float:
        given.write(b"%d\n" % count)
        return float(await output.readline())

    await output.readline()
    yield Bare(process.pid, deliver)
    await process.communicate(b"")  # ends it


async def one_by_one_s(discord: DiscordServer, upstream: Upstream) -> tuple[float, float]:
    """Seconds for one video, of the bot and of the baseline: medians. The first ones warm up."""
    taken: list[tuple[float, float]] = []
    async with AsyncExitStack() as stack:
        other: Bare | None = None
        for number in range(1 + SINGLE):
            await order(discord)
            posted_s = await until_posted(discord, 2 * number + 1)
            seconds = posted_s - upstream.requests[-1][0]
            if other is None:
                other = await stack.enter_async_context(bare(discord, upstream))
            taken.append((seconds, await other.deliver(1)))
    of_bot, of_bare = zip(*taken[1:], strict=True)
    return median(of_bot), median(of_bare)


async def many_bytes(checkout: Checkout, discord: DiscordServer, upstream: Upstream, settings: Settings) -> int:
    """What many at once add to the memory of the bot, which is started for it: none is left from before."""
    videos = len(upstream.requests)
    async with running_bot(checkout, discord, settings) as bot:
        await until_connected(discord)
        await asyncio.sleep(QUIET_S)
        upstream.gate.clear()
        upstream.task_seconds = 0
        posted_all = asyncio.gather(open_gate(upstream), until_posted(discord, videos + MANY))
        return await added_bytes(bot.pid, posted_all)


async def costs(checkout: Checkout) -> tuple[Costs, Costs]:
    """What the bot and the baseline take."""
    with tempfile.TemporaryDirectory() as folder:
        async with DiscordServer() as discord, Upstream(Path(folder)) as upstream:
            for number in range(1, SERVERS):
                discord.state.add_channel(discord.state.add_guild(f"server {number}"), "general")
            database = f"sqlite:///{Path(folder) / 'zoetrope.db'}"
            settings = SETTINGS | {"VTRIX_BASE_URL": upstream.url, "DATABASE_URL": database}
            async with running_bot(checkout, discord, settings):
                await until_commands_are_synced(discord)
                await until_connected(discord)
                of_bot_s, of_bare_s = await one_by_one_s(discord, upstream)
                upstream.task_seconds = LONG_S
                for number in range(MANY):
                    await order(discord, number)
                async with asyncio.timeout(WITHIN_S):
                    while len(upstream.received) < 1 + SINGLE + MANY:
                        await asyncio.sleep(0.01)
                await asyncio.sleep(QUIET_S)  # the last answers are stored
            await discord.state.until(lambda: not discord.gateway.live)
            of_bot_bytes = await many_bytes(checkout, discord, upstream, settings)
            async with bare(discord, upstream) as other:
                upstream.gate.clear()
                all_posted = asyncio.gather(open_gate(upstream), other.deliver(MANY))
                of_bare_bytes = await added_bytes(other.pid, all_posted)
            return Costs(of_bot_s, of_bot_bytes), Costs(of_bare_s, of_bare_bytes)


def measure(checkout: Checkout) -> Iterator[Row]:
    """The rows of the results."""
    bot, bare = asyncio.run(costs(checkout))
    name = f"{MANY} results of 10 MB at once, RSS added"
    yield Row(name, bot.many_bytes / 1e6, bare.many_bytes / 1e6, "MB", target=1.5)
    yield Row("deliver 10 MB", bot.one_s * 1000, bare.one_s * 1000, "ms", target=1.2)


if __name__ == "__main__":
    run(measure)
