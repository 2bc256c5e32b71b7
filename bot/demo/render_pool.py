"""Renders the local gateway's videos in a separate process, so that no request waits for the encoder."""

import asyncio
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from bot.demo.fake_renderer import render
from bot.demo.request_parsing import CreateRequest


class RenderPool:
    """Renders videos into `folder`, one at a time, while it is entered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool: ProcessPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        starting = asyncio.ensure_future(asyncio.to_thread(self._start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # A thread can't be cancelled; left running, it would recreate the folder that its owner has removed.
            await asyncio.wait({starting})
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def render(self, name: str, create: CreateRequest) -> Path:
        """The finished video's file. Raises whatever went wrong while rendering."""
        path = self._folder / f"{name}.mp4"
        loop = asyncio.get_running_loop()
        work = partial(render, create.picture, path, resolution=create.resolution, seed=create.seed)
        await loop.run_in_executor(self._pool, work)
        return path

    def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._pool = ProcessPoolExecutor(
            max_workers=1, mp_context=multiprocessing.get_context("spawn"), initializer=_follow_parent
        )
        # Starts the process now rather than at the first task, since that takes a second. It inherits the blocked
        # signal, so a Ctrl-C, which a terminal sends to every process, can't hit it before its initializer ran.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._pool.submit(os.getpid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _follow_parent() -> None:
    """Makes a worker process end when its parent does, and not on a Ctrl-C that is meant for the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def follow() -> None:
        # A pool's workers hold both ends of their queue, so a killed parent would leave them waiting forever.
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
