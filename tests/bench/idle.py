"""How much CPU the whole bot takes while it has nothing to do, with many jobs that have ended next to one."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import psutil  # type: ignore[import-untyped]  # it has no types

from tests.bench.report import Checkout, Row, run
from tests.bench.whole_bot import running_bot, until_connected
from tests.discord_server import DiscordServer

ENDED = 100_000
IDLE_S = 15.0
SETTLING_S = 5.0
ROUNDS = 1
HERE = Path(__file__).parent


def cpu_s(pid: int) -> float:
    """The CPU seconds that a process has used, without its children."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


async def idle_cpu_s(checkout: Checkout, url: str) -> float:
    """The CPU seconds of some idle seconds after the start."""
    async with DiscordServer() as discord, running_bot(checkout, discord, {"DATABASE_URL": url}) as process:
        await until_connected(discord)
        await asyncio.sleep(SETTLING_S)
        before_s = cpu_s(process.pid)
        await asyncio.sleep(IDLE_S)
        return cpu_s(process.pid) - before_s


def measure(checkout: Checkout) -> Iterator[Row]:
    """The row of the idle bot."""
    with tempfile.TemporaryDirectory() as folder:
        many, one = (f"sqlite:///{Path(folder) / name}.db" for name in ("many", "one"))
        for url, ended in ((many, ENDED), (one, 1)):
            checkout.run_script(HERE / "filled_database.py", url, str(ended), "0")
        pairs = [[asyncio.run(idle_cpu_s(checkout, url)) for url in (many, one)] for _ in range(ROUNDS)]
    with_ended, with_one = (median(found) for found in zip(*pairs, strict=True))
    name = f"CPU of an idle bot in {IDLE_S:.0f} s, {ENDED:,} ended jobs ÷ one"
    yield Row(name, with_ended, with_one, "s", target=1.3)


if __name__ == "__main__":
    run(measure)
