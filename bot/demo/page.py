"""Shows the offline Discord in the browser and keeps it up to date.

SimCord publishes a channel only when it is asked to; this module asks whenever a message changed.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from simcord import SetupError

from bot.demo.offline_discord import OfflineDiscord
from bot.demo.preview import DemoPreview
from bot.domain.errors import ZoetropeError

log = logging.getLogger(__name__)

_RETRY_S = 0.1
"""Pause before another try while SimCord is busy with a member's own command."""


@asynccontextmanager
async def served_page(
    discord: OfflineDiscord, *, port: int = 0, or_free: bool = False, batch_s: float = 0.25
) -> AsyncIterator[DemoPreview]:
    """Serves the demo on the loopback. Its `url` contains the session's key: it is for this machine's user only.

    port: 0 takes a free one. or_free: take a free one too if `port` can't be used. batch_s: changes this close
    together, in seconds, are shown at once. Raises: ZoetropeError if the port can't be used.
    """
    try:
        preview = await _serve(discord, port)
    except ZoetropeError:
        if not or_free:
            raise
        preview = await _serve(discord, 0)
    refresher = asyncio.create_task(_keep_fresh(discord, preview, batch_s), name="demo page refresh")
    try:
        yield preview
    finally:
        refresher.cancel()
        await asyncio.gather(refresher, return_exceptions=True)
        await preview.close()


async def _serve(discord: OfflineDiscord, port: int) -> DemoPreview:
    preview = discord.preview(port=port)
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


async def _keep_fresh(discord: OfflineDiscord, preview: DemoPreview, batch_s: float) -> None:
    try:
        while True:
            changed = discord.changed
            await _refresh(preview)
            await changed.wait()
            await asyncio.sleep(batch_s)
    except Exception:
        log.exception("the page no longer updates by itself; reload it in the browser")


async def _refresh(preview: DemoPreview) -> None:
    while True:
        try:
            return await preview.refresh()
        except SetupError:
            # Either a command is running, or the session was closed in the browser.
            with suppress(TimeoutError):
                return await asyncio.wait_for(preview.wait_closed(), _RETRY_S)
        except TimeoutError:
            return log.warning("a command is taking a very long time; the page will update once it is done")
