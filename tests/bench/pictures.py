"""How long a picture takes: from the command to the job, many at once, and the first frame by itself.

The baseline is what a bot would do that trusts its members' files: decode, scale and encode with Pillow in a
process that is there already. An order and its baseline take turns, so that both meet the same noise, and an order
begins when the status of the one before was posted. The photo is drawn, with texture at all scales, edges and a
little noise, as those of phones.
"""

import asyncio
import json
import multiprocessing
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from statistics import median

from tests.bench import picture_samples
from tests.bench.report import Checkout, Row, run
from tests.bench.whole_bot import running_bot, until_commands_are_synced, until_connected
from tests.discord_server import DiscordServer

ORDERS, WITHIN_S = 15, 60.0
SCRIPT = Path(__file__).with_name("picture_costs.py")
PLENTY = {
    "QUOTA_VIDEOS_PER_DAY": "1000",
    "QUOTA_RUNNING": "1000",
    "QUEUE_MAX": "1000",
    "SERVER_BUDGET_USD_PER_DAY": "100000",
    "SERVER_BUDGET_USD_PER_MONTH": "100000",
    "BUDGET_USD_PER_DAY": "100000",
    "BUDGET_USD_PER_MONTH": "100000",
}


def naive_s(data: bytes) -> float:
    """How long the baseline takes for a picture."""
    begin = time.perf_counter()
    picture_samples.naive_frame(data)
    return time.perf_counter() - begin


async def order_s(checkout: Checkout, pictures: dict[str, bytes]) -> dict[str, tuple[float, float]]:
    """Seconds from the acknowledgement of `/animate` to the job, and of the baseline, by picture: medians."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in pictures}
    loop = asyncio.get_running_loop()
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as baseline,
    ):
        file = Path(folder) / "zoetrope.db"
        also = PLENTY | {"DATABASE_URL": f"sqlite:///{file}"}
        async with DiscordServer() as discord, running_bot(checkout, discord, also):
            await until_commands_are_synced(discord)
            await until_connected(discord)
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
                for number in range(ORDERS + 1):  # the first one warms up
                    for name, data in pictures.items():
                        seconds = await added_s(discord, database, data)
                        naive = await loop.run_in_executor(baseline, naive_s, data)
                        if number:
                            taken[name].append((seconds, naive))
    return {
        name: (median(one for one, _ in pairs), median(one for _, one in pairs)) for name, pairs in taken.items()
    }


async def added_s(discord: DiscordServer, database: sqlite3.Connection, picture: bytes) -> float:
    """Seconds until a new member's order is a job. Returns when its status is posted."""
    before, posted = jobs(database), len(discord.messages())
    member = discord.state.add_member(discord.channel.guild, "member")  # each may do only so much at once
    command = await discord.slash(
        "animate", member, options={"prompt": "waves roll in"}, attachments={"image": picture}
    )
    await command.acknowledged()
    begin = time.perf_counter()
    async with asyncio.timeout(WITHIN_S):
        while jobs(database) == before:
            await asyncio.sleep(0.001)
    seconds = time.perf_counter() - begin
    await command.answer()
    await discord.state.until(lambda: len(discord.messages()) > posted)
    return seconds


def jobs(database: sqlite3.Connection) -> int:
    """How many jobs there are."""
    count: int = database.execute("SELECT count(*) FROM jobs").fetchone()[0]
    return count


def measure(checkout: Checkout) -> Iterator[Row]:
    """The rows of the pictures."""
    photo, drawing = picture_samples.photo(), picture_samples.drawing()
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "photo.jpg", Path(folder) / "drawing.png"
        for file, data in zip(files, (photo, drawing), strict=True):
            file.write_bytes(data)
        costs = json.loads(checkout.run_script(SCRIPT, *map(str, files)))
    orders = asyncio.run(order_s(checkout, {"photo": photo, "drawing": drawing}))
    name = "`/animate` with a 12 MP JPEG: acknowledgement → job added"
    yield Row(name, orders["photo"][0] * 1000, orders["photo"][1] * 1000, "ms", target=1.3)
    name = "`/animate` with a 0.5 MP PNG: acknowledgement → job added"
    yield Row(name, orders["drawing"][0] * 1000, orders["drawing"][1] * 1000, "ms", target=1.5)
    name = "20 PNGs at once ÷ threads in process"
    yield Row(name, 20 / costs["at_once_s"], 20 / costs["in_threads_s"], "/s", target=0.8, more_is_better=True)
    name = f"frame of a 12 MP phone JPEG, {costs['photo_db']:.1f} dB from the naive one"
    yield Row(name, costs["photo_s"] * 1000, costs["naive_photo_s"] * 1000, "ms", target=0.45)


if __name__ == "__main__":
    run(measure)
