"""How long the bot takes from its start until members can use its commands."""

import asyncio
import time
from collections.abc import Iterator
from statistics import median

from tests.bench.report import Checkout, Row, run
from tests.bench.whole_bot import running_bot, until_commands_are_synced
from tests.discord_server import DiscordServer

ROUNDS = 7


async def seconds(checkout: Checkout) -> float:
    """From the start of the process, with no database yet, to Discord's answer to the sync of its commands."""
    async with DiscordServer() as discord:
        begin = time.perf_counter()
        async with running_bot(checkout, discord):
            await until_commands_are_synced(discord)
            return time.perf_counter() - begin


def measure(checkout: Checkout) -> Iterator[Row]:
    """The row of the start. The first round is left out: Python compiles what it imports for the first time."""
    asyncio.run(seconds(checkout))
    start_s = median(asyncio.run(seconds(checkout)) for _ in range(ROUNDS))
    yield Row("start → commands synced, empty database", start_s * 1000, None, "ms", target=0.5)


if __name__ == "__main__":
    run(measure)
