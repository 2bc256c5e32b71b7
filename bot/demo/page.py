"""Shows the offline Discord in the browser and keeps it up to date.

SimCord publishes a channel only when it is asked to; this module asks whenever a message changed.
"""

import asyncio
import logging
import os
from contextlib import suppress
from types import TracebackType
from typing import Self

from simcord import SetupError

from bot.demo.offline_discord import OfflineDiscord
from bot.demo.preview import DemoPreview
from bot.domain.errors import ZoetropeError

log = logging.getLogger(__name__)

_RETRY_S = 0.1
"""Pause before another try while SimCord is busy with a member's own command."""


class Page:
    """Serves the demo at a fixed address on the loopback while it is entered; `discord` must be entered first.

    port: 0 takes a free one. or_free: if `port` can't be used, take a free one; without it, entering raises
    ZoetropeError. batch_s: changes this close together, in seconds, are shown at once.
    """

    def __init__(
        self, discord: OfflineDiscord, *, port: int = 0, or_free: bool = False, batch_s: float = 0.25
    ) -> None:
        self._discord = discord
        self._port = port
        self._or_free = or_free
        self._batch_s = batch_s
        self._preview: DemoPreview
        self._refresher: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        try:
            self._preview = await self._serve(self._port)
        except ZoetropeError:
            if not self._or_free:
                raise
            self._preview = await self._serve(0)
        self._refresher = asyncio.create_task(self._keep_fresh(), name="demo page refresh")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._refresher.cancel()
        await asyncio.gather(self._refresher, return_exceptions=True)
        await self._preview.close()

    async def _serve(self, port: int) -> DemoPreview:
        preview = self._discord.preview(port=port)
        try:
            await preview.__aenter__()
        except SetupError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError):
                raise
            reason = os.strerror(cause.errno) if cause.errno else str(cause)
            raise ZoetropeError(
                f"Port {port} can't be used for the page: {reason}. Choose another with --port, or leave it out."
            ) from error
        return preview

    @property
    def url(self) -> str:
        """The page's address. It contains the session's key, so it is for this machine's user only."""
        return self._preview.url

    async def wait_closed(self) -> None:
        """Returns once the page is closed, also if that was done in the browser."""
        await self._preview.wait_closed()

    async def _keep_fresh(self) -> None:
        try:
            while True:
                changed = self._discord.changed
                await self._refresh()
                await changed.wait()
                await asyncio.sleep(self._batch_s)
        except Exception:
            log.exception("the page no longer updates by itself; reload it in the browser")

    async def _refresh(self) -> None:
        while True:
            try:
                return await self._preview.refresh()
            except SetupError:
                # Either a command is running, or the session was closed in the browser.
                with suppress(TimeoutError):
                    return await asyncio.wait_for(self._preview.wait_closed(), _RETRY_S)
            except TimeoutError:
                return log.warning("a command is taking very long; the page will update once it is done")
