"""Where the local gateway's videos are made: in a process of its own, so that no request waits for a codec.

Without rendering it hands out one tiny ready-made video, which is enough for a test of everything else.
"""

import asyncio
import multiprocessing
import os
import signal
import tempfile
import threading
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Self

from PIL import Image

from bot.demo.fake_renderer import film
from bot.demo.request_parsing import Create
from bot.domain.jobs import Resolution

_READY_S = 0.2


class RenderPool:
    """Makes videos in `folder`, one at a time: `async with Studio(folder, render=True) as studio`."""

    def __init__(self, folder: Path, *, render: bool) -> None:
        self._folder = folder
        self._render = render
        self._pool: ProcessPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        preparing = asyncio.ensure_future(asyncio.to_thread(self._prepare))
        try:
            await asyncio.shield(preparing)
        except asyncio.CancelledError:
            # A thread can't be cancelled: left alone, it would make the folder anew that its owner has removed.
            await asyncio.wait({preparing})
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def make(self, name: str, create: Create) -> Path:
        """The finished video's file. Raises whatever went wrong with making it."""
        if self._pool is None:
            return self._ready
        path = self._folder / f"{name}.mp4"
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._pool, _film, create, path)
        return path

    @property
    def _ready(self) -> Path:
        return self._folder / "ready-made.mp4"

    def _prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._render:
            self._ready.write_bytes(_ready_made())
            return
        self._pool = ProcessPoolExecutor(
            max_workers=1, mp_context=multiprocessing.get_context("spawn"), initializer=_settle_in
        )
        # Starting Python and its libraries takes a second: now rather than at the first task. It inherits
        # the blocked signal, so that a Ctrl-C, which a terminal sends to all, can't hit it before it settled in.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._pool.submit(os.getpid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@cache
def _ready_made() -> bytes:
    """One tiny video, encoded once in the life of this process."""
    picture = BytesIO()
    Image.new("RGB", (360, 360), "teal").save(picture, "PNG")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ready-made.mp4"
        film(picture.getvalue(), path, resolution=Resolution.P480, seed=1, seconds=_READY_S)
        return path.read_bytes()


def _film(create: Create, path: Path) -> None:
    film(create.picture, path, resolution=create.resolution, seed=create.seed)


def _settle_in() -> None:
    """Makes a worker process end with its parent, and only so: not by a Ctrl-C that is meant for the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def follow() -> None:
        # A pool's workers hold both ends of their queue, so a killed parent leaves them waiting for ever.
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
