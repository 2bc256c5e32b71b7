"""How long a picture takes: from the command to the job, many at once, and the first frame by itself.

The baseline is what a bot would do that trusts its members' files: decode, scale and encode with Pillow in its own
process. The photo is drawn, with texture at all scales, edges and a little noise, as those of phones.
"""

import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.bench import picture_samples
from tests.bench.report import Checkout, Row, run
from tests.bench.whole_bot import running_bot, until_commands_are_synced, until_connected
from tests.discord_server import DiscordServer

ORDERS = 7
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


async def order_s(checkout: Checkout, pictures: dict[str, bytes]) -> dict[str, float]:
    """Seconds from the acknowledgement of `/animate` to the job, by picture: the median of some orders."""
    taken: dict[str, list[float]] = {name: [] for name in pictures}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "zoetrope.db"
        also = PLENTY | {"DATABASE_URL": f"sqlite:///{file}"}
        async with DiscordServer() as discord, running_bot(checkout, discord, also):
            await until_commands_are_synced(discord)
            await until_connected(discord)
            for number in range(ORDERS + 1):  # the first one warms up
                for name, data in pictures.items():
                    before = jobs(file)
                    command = await discord.slash(
                        "animate", options={"prompt": "waves roll in"}, attachments={"image": data}
                    )
                    await command.acknowledged()
                    begin = time.perf_counter()
                    while jobs(file) == before:
                        await asyncio.sleep(0.001)
                    if number:
                        taken[name].append(time.perf_counter() - begin)
                    await command.answer()
    return {name: median(values) for name, values in taken.items()}


def jobs(file: Path) -> int:
    """How many jobs there are."""
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
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
    yield Row(name, orders["photo"] * 1000, costs["naive_photo_s"] * 1000, "ms", target=1.3)
    name = "`/animate` with a 0.5 MP PNG: acknowledgement → job added"
    yield Row(name, orders["drawing"] * 1000, costs["naive_drawing_s"] * 1000, "ms", target=1.5)
    name = "20 PNGs at once ÷ threads in process"
    yield Row(name, 20 / costs["at_once_s"], 20 / costs["in_threads_s"], "/s", target=0.8, more_is_better=True)
    name = f"frame of a 12 MP phone JPEG, {costs['photo_db']:.1f} dB from the naive one"
    yield Row(name, costs["photo_s"] * 1000, costs["naive_photo_s"] * 1000, "ms", target=0.45)


if __name__ == "__main__":
    run(measure)
