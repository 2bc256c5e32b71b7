"""Shows the offline Discord in the browser and keeps it fresh.

SimCord's preview is a still picture of the channel: it is published anew only when somebody asks for it, and it
re-encodes every MP4 as VP9 each time a page opens, six to ten seconds for five seconds of 720P. This module asks
whenever a message changed, and hands a video that browsers play anyway over as it is.
"""

import asyncio
import io
import logging
import os
from contextlib import suppress
from types import TracebackType
from typing import Self

import av
from simcord import SetupError
from simcord.preview import Preview
from simcord.preview._media import MediaInfo, MediaWorker

from bot.demo.offline_discord import OfflineDiscord
from bot.domain.errors import ZoetropeError

log = logging.getLogger(__name__)

_BUSY_S = 0.1
"""Pause before another try while SimCord is at work on the member's own command."""


class Page:
    """The demo's channel at a fixed address on the loopback while it is entered; `discord` must be entered.

    port: 0 takes a free one. or_free: takes a free one too where `port` can't be had; without, entering raises
    ZoetropeError. gather_s: changes this close together, in seconds, are shown at once, because a click in the
    half second after a refresh can be refused as out of date.
    """

    def __init__(
        self, discord: OfflineDiscord, *, port: int = 0, or_free: bool = False, gather_s: float = 0.25
    ) -> None:
        self._discord = discord
        self._port = port
        self._or_free = or_free
        self._gather_s = gather_s
        self._preview: Preview
        self._keeper: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        try:
            self._preview = await self._served(self._port)
        except ZoetropeError:
            if not self._or_free:
                raise
            self._preview = await self._served(0)
        self._keeper = asyncio.create_task(self._keep_fresh(), name="demo page refresh")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        await self._preview.close()

    async def _served(self, port: int) -> Preview:
        preview = self._discord.preview(port=port)
        # There is no public way to choose how media is prepared. SimCord makes its own worker if there is none.
        preview._media_worker = _PassingMedia()  # noqa: SLF001
        try:
            return await preview.__aenter__()
        except SetupError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError):
                raise
            said = os.strerror(cause.errno) if cause.errno else str(cause)
            raise ZoetropeError(
                f"Port {port} can't be used for the page: {said}. Name another with --port, or leave it out."
            ) from error

    @property
    def url(self) -> str:
        """Where the page is. It carries the key to the session, so it is for this machine's user only."""
        return self._preview.url

    async def wait_closed(self) -> None:
        """Returns once the page is gone, also when it was ended in the browser."""
        await self._preview.wait_closed()

    async def _keep_fresh(self) -> None:
        try:
            while True:
                changed = self._discord.changed
                await self._refresh()
                await changed.wait()
                await asyncio.sleep(self._gather_s)
        except Exception:
            log.exception("the page no longer follows the channel by itself; its own Refresh button still works")

    async def _refresh(self) -> None:
        while True:
            try:
                return await self._preview.refresh()
            except SetupError:
                # Either a command is under way, or the session was ended in the browser.
                with suppress(TimeoutError):
                    return await asyncio.wait_for(self._preview.wait_closed(), _BUSY_S)
            except TimeoutError:
                return log.warning("a command is taking very long; the page catches up when it is over")


class _PassingMedia(MediaWorker):
    """Lets H.264 through untouched and leaves everything else to SimCord."""

    async def validate(self, key: str, blob: bytes, *, media_time: float | None = None) -> MediaInfo:
        if not media_time and (info := await asyncio.to_thread(_as_it_is, blob)):
            return info
        return await super().validate(key, blob, media_time=media_time)


def _as_it_is(blob: bytes) -> MediaInfo | None:
    """What SimCord wants to know of an MP4 that any browser plays, its first picture as the poster; else None."""
    if blob[4:8] != b"ftyp":
        return None
    try:
        with av.open(io.BytesIO(blob), mode="r") as container:
            video = container.streams.best("video")
            if not isinstance(video, av.VideoStream) or (video.name, video.pix_fmt) != ("h264", "yuv420p"):
                return None
            first = next(container.decode(video), None)
            frames, seconds = video.frames, (container.duration or 0) / av.time_base
    except av.FFmpegError:
        return None  # SimCord has its own words for a broken file
    if first is None:
        return None
    poster = io.BytesIO()
    first.to_image().save(poster, format="PNG")  # type: ignore[no-untyped-call]  # PyAV leaves it untyped
    codecs = {"video": "h264"}
    return MediaInfo(
        format="mp4",
        width=first.width,
        height=first.height,
        frames=frames,
        decoded_bytes=first.width * first.height * 4,
        normalized=blob,
        content_type="video/mp4",
        kind="video",
        duration=seconds,
        capture=poster.getvalue(),
        poster=poster.getvalue(),
        source_codecs=codecs,
        display_codecs=codecs,
        transformation="preserved",
        memory_limited=True,  # silences the page's warning about a decoder that is not used here
    )
