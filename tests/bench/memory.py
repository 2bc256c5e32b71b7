"""How much memory the bot takes while it has nothing to do, next to the libraries that it can't do without."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from statistics import median

import psutil  # type: ignore[import-untyped]

from tests.bench.report import Checkout, Row, run
from tests.bench.whole_bot import running_bot, until_connected
from tests.discord_server import DiscordServer

ROUNDS = 5
IDLE_S = 3.0

LIBRARIES = """
import sys
import aiohttp, discord.ext.commands, sqlalchemy.ext.asyncio
print(flush=True)
sys.stdin.read()
"""
"""The Discord client, the HTTP client and the database's: no bot of this kind goes without them."""


def megabytes(pid: int) -> float:
    """The resident memory of one process, without its children."""
    return float(psutil.Process(pid).memory_info().rss) / 1e6


async def of_the_bot(checkout: Checkout) -> float:
    """`zoetrope run` a few seconds after it has connected."""
    async with DiscordServer() as discord, running_bot(checkout, discord) as process:
        await until_connected(discord)
        await asyncio.sleep(IDLE_S)
        return megabytes(process.pid)


def of_the_libraries() -> float:
    """A Python that has imported the libraries and nothing else."""
    command = [sys.executable, "-c", LIBRARIES]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        found = megabytes(process.pid)
        process.stdin.close()
    return found


def measure(checkout: Checkout) -> Iterator[Row]:
    """The row of the idle bot."""
    pairs = [(asyncio.run(of_the_bot(checkout)), of_the_libraries()) for _ in range(ROUNDS)]
    bots, baselines = zip(*pairs, strict=True)
    yield Row("RSS of an idle `run`", median(bots), median(baselines), "MB", target=1.4)


if __name__ == "__main__":
    run(measure)
