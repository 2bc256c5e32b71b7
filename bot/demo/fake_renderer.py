"""Renders a real video from one picture, in place of a paid model: the camera slowly zooms in.

It starts on the whole picture, as an image-to-video model starts on its first frame, and ends a little closer, at
a point that depends on the seed. It takes some seconds of CPU time, so the gateway does it in another process.
"""

import asyncio
import io
import math
import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Self

import av
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image, ImageOps

from bot.demo.request_parsing import CreateRequest
from bot.domain.jobs import Resolution

FPS = 30
_PIXELS = {Resolution.P480: 832 * 480, Resolution.P720: 1280 * 720}
_BT709 = 1
"""The code of BT.709 for both primaries and transfer (ITU-T H.273)."""


class RenderingStopped(Exception):
    """The video was given up because the pool closes."""


_pool_closes: Event | None = None
"""In a pool's worker process: set when the pool closes."""


def video_size(width: int, height: int, resolution: Resolution) -> tuple[int, int]:
    """Width and height of the video, both even: the picture's aspect ratio, about the resolution's pixels."""
    factor = math.sqrt(_PIXELS[resolution] / (width * height))
    return 2 * round(width * factor / 2), 2 * round(height * factor / 2)


def render(picture: bytes, to: Path, *, resolution: Resolution, seed: int, duration_s: float = 5.0) -> None:
    """Writes an H.264 MP4 of `picture` to `to`, which appears only once it is complete.

    Raises: OSError for a picture that can't be read, `av.FFmpegError` for one that can't be encoded, in a pool's
    process also RenderingStopped.
    """
    with Image.open(io.BytesIO(picture)) as opened:
        source = ImageOps.exif_transpose(opened).convert("RGB")
    size = video_size(*source.size, resolution)
    part = to.with_name(f"{to.name}.part")
    try:
        _encode(_frames(source, size, seed, count=round(duration_s * FPS)), part, size)
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)


def _frames(source: Image.Image, size: tuple[int, int], seed: int, *, count: int) -> Iterator[VideoFrame]:
    rng = random.Random(seed)  # noqa: S311 - not for security
    zoom, x, y = rng.uniform(1.15, 1.3), rng.random(), rng.random()
    width, height = (2 * round(side * zoom / 2) for side in size)
    enlarged = source.resize((width, height), Image.Resampling.LANCZOS)
    for index in range(count):
        if _pool_closes is not None and _pool_closes.is_set():
            raise RenderingStopped
        eased = (1 - math.cos(math.pi * index / max(count - 1, 1))) / 2
        scale = 1 / (1 + (zoom - 1) * eased)
        left, top = (1 - scale) * width * x, (1 - scale) * height * y
        box = (left, top, left + scale * width, top + scale * height)
        picture = enlarged.resize(size, Image.Resampling.BILINEAR, box=box)
        frame: VideoFrame = VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]  # PyAV leaves it untyped
        frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
        frame.pts = index
        yield frame


def _encode(frames: Iterator[VideoFrame], to: Path, size: tuple[int, int]) -> None:
    with av.open(str(to), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.color_range = ColorRange.MPEG
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_primaries = _BT709
        stream.codec_context.color_trc = _BT709
        for frame in frames:
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


class RenderPool:
    """Renders videos into `folder`, one at a time, in a process of its own, while it is entered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool: ProcessPoolExecutor | None = None
        self._context = multiprocessing.get_context("spawn")
        self._closes = self._context.Event()

    async def __aenter__(self) -> Self:
        starting = asyncio.ensure_future(asyncio.to_thread(self._start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # A thread can't be cancelled; left running, it would recreate the folder that its owner has removed.
            await asyncio.wait({starting})
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Waits for the frame that is being rendered, not for its video."""
        if self._pool is not None:
            self._closes.set()
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
            max_workers=1, mp_context=self._context, initializer=_set_up_worker, initargs=(self._closes,)
        )
        # Starts the process now rather than at the first task, since that takes a second. It inherits the blocked
        # signal, so a Ctrl-C, which a terminal sends to every process, can't hit it before its initializer ran.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._pool.submit(os.getpid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _set_up_worker(pool_closes: Event) -> None:
    global _pool_closes  # noqa: PLW0603 - a pool's initializer has no other place for what its tasks need
    _pool_closes = pool_closes
    _follow_parent()


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
