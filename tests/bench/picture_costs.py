"""`python picture_costs.py PHOTO DRAWING`: measures first frames, with the code on `PYTHONPATH`, as JSON."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

sys.path.append(str(Path(__file__).parents[2]))  # for `tests`, after the code that is measured

from bot.media import decode_client
from bot.media.first_frame import prepare_first_frame
from tests.bench.picture_samples import naive_frame, psnr_db

ROUNDS = 7
PICTURES = 20
AT_ONCE = 2  # as `bot.services.videos.MAX_DECODERS`, and a thread for each core here

Prepare = Callable[[bytes], Awaitable[object]]


@asynccontextmanager
async def decoder() -> AsyncIterator[Prepare]:
    """Prepares a first frame in a sandboxed process, as this build does it."""
    in_subprocess: Prepare | None = getattr(decode_client, "prepare_in_subprocess", None)  # of older builds
    if in_subprocess is not None:
        yield in_subprocess
        return
    async with decode_client.DecodeClient() as client:
        yield client.prepare


async def at_once_s(data: bytes) -> float:
    """Seconds for some pictures that arrive together."""
    slots = asyncio.Semaphore(AT_ONCE)
    async with decoder() as prepare:

        async def one() -> None:
            async with slots:
                await prepare(data)

        await prepare(data)
        begin = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(PICTURES)))
        return time.perf_counter() - begin


def in_threads_s(data: bytes) -> float:
    """The same without sandboxes."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begin = time.perf_counter()
        list(pool.map(naive_frame, [data] * PICTURES))
        return time.perf_counter() - begin


def seconds(function: Callable[[bytes], object], data: bytes) -> float:
    """How long one call takes."""
    begin = time.perf_counter()
    function(data)
    return time.perf_counter() - begin


def main(photo: bytes, drawing: bytes) -> None:
    """Measures product and baseline in turns; the medians count."""
    costs: dict[str, list[float]] = {}

    def add(name: str, value: float) -> None:
        costs.setdefault(name, []).append(value)

    frame = prepare_first_frame(photo).frame.data
    for _ in range(ROUNDS):
        add("photo_s", seconds(prepare_first_frame, photo))
        add("naive_photo_s", seconds(naive_frame, photo))
    for _ in range(3):
        add("at_once_s", asyncio.run(at_once_s(drawing)))
        add("in_threads_s", in_threads_s(drawing))
    add("photo_db", psnr_db(frame, naive_frame(photo)))
    print(json.dumps({name: median(values) for name, values in costs.items()}))


if __name__ == "__main__":
    main(*(Path(path).read_bytes() for path in sys.argv[1:]))
