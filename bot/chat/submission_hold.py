"""Lets jobs be submitted only while it is known which servers have removed the bot.

What is made for a server that the bot has left is paid for and can't be posted. If the gateway doesn't say in time
which ones these are, each status card is edited first: where Discord refuses that, the job ends unpaid.
"""

import asyncio
import logging
import random
from typing import NoReturn

from bot.chat.guild_events import GuildEvents
from bot.domain.schedule import Backoff
from bot.operations.clock import Clock
from bot.store.jobs.job_store import JobStore
from bot.worker.background_service import wait_for
from bot.worker.loop import Worker

log = logging.getLogger(__name__)

_RECHECK_BACKOFF = Backoff(first_s=1, cap_s=15)


async def hold_submissions_while_behind(
    worker: Worker, store: JobStore, events: GuildEvents, clock: Clock, ready_timeout_s: float
) -> NoReturn:
    """Allows submissions once the gateway is ready, or was not for `ready_timeout_s`; holds them if it is lost."""
    while True:
        try:
            async with asyncio.timeout(ready_timeout_s):
                await events.caught_up.wait()
        except TimeoutError:
            log.warning(
                "Discord's gateway is not ready; queued videos start once their status cards can be edited"
            )
            await _recheck_queued(store, events, clock)
        worker.allow_submissions()
        await events.fell_behind.wait()
        events.fell_behind.clear()
        worker.hold_submissions()


async def _recheck_queued(store: JobStore, events: GuildEvents, clock: Clock) -> None:
    failures = 0
    while not events.caught_up.is_set():
        try:
            await store.recheck_queued(clock())
            break
        except Exception:  # whatever the store raises; until then nothing is paid for
            log.exception("the queued videos can't be checked yet")
            pause_s = _RECHECK_BACKOFF.pause_s(failures, jitter=random.random())  # noqa: S311 - no secret
            await wait_for(events.caught_up, pause_s)
            failures += 1
