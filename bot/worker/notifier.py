"""Sends notifications to log channels: claims them under a lease, sends them, marks them as sent.

Runs next to the job loop, in the same process. If a notifier dies between these steps, the lease of its batch
expires, and whoever claims the batch next checks whether it was already sent. A channel that is deleted or
forbidden loses only its own notifications, and a slow one delays only itself.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from bot.domain.errors import DeliveryDelayed, DeliveryError, DeliveryForbidden
from bot.domain.schedule import Backoff
from bot.operations.clock import uptime_s
from bot.operations.held_lease import HeldLease, working_under
from bot.store.outbox.notifications import TO_OPERATOR, Batch, NotificationStore
from bot.worker.background_service import wait_for

log = logging.getLogger(__name__)

ABANDON_AFTER = timedelta(days=1)
"""A notification older than this is dropped the next time sending it fails."""

FORBIDDEN_PATIENCE = timedelta(minutes=30)
"""How long a permission may be missing: an admin who rearranges channels takes one away for moments."""

_LEASE = timedelta(seconds=60)
_CLAIM_LIMIT = 20
_MAX_IN_PROGRESS = 100
_SEND_TIMEOUT_S = 45.0
_IDLE_S = 2.0
_PURGE_INTERVAL = timedelta(hours=1)


class NotificationSender(Protocol):
    """Sends to Discord; a protocol, since the worker must not import `bot.chat`. Methods raise DeliveryError."""

    async def send(self, channel_id: int, text: str, *, nonce: str) -> None:
        """Sends the text, unless this nonce was used a moment ago."""
        ...

    async def already_sent(self, channel_id: int, text: str, *, since: datetime) -> bool:
        """Whether the bot has sent exactly this text to the channel since then."""
        ...


class Notifier:
    """Sends all notifications until it is stopped. One task runs `run`; anyone may call `wake`."""

    def __init__(
        self,
        store: NotificationStore,
        sender: NotificationSender,
        *,
        operator_channel_id: int | None,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
        backoff: Backoff = Backoff(first_s=2, cap_s=300),
        batch_delay_s: float = 1.0,
        steady_s: Callable[[], float] = uptime_s,
    ) -> None:
        """operator_channel_id: None sends the operator's to the log only. jitter: random, in [0, 1).

        batch_delay_s: between two claims; whatever happens in one server meanwhile becomes one message.
        steady_s: the clock by which a lease is over.
        """
        self._store = store
        self._sender = sender
        self._operator_channel_id = operator_channel_id
        self._clock = clock
        self._jitter = jitter
        self._backoff = backoff
        self._batch_delay_s = batch_delay_s
        self._steady_s = steady_s
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._unreachable_channels: set[int] = set()
        self._purged_at: datetime | None = None
        self._in_progress = 0

    def wake(self) -> None:
        """There may be something to send: check at once."""
        self._wake.set()

    def stop(self) -> None:
        """Ends the loop once the batches in progress are done."""
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Runs until `stop` is called, through outages of the store and of Discord."""
        failures = 0
        async with asyncio.TaskGroup() as group:
            while not self._stop.is_set():
                self._wake.clear()
                try:
                    batches, lease = await self._claim()
                    failures = 0
                except Exception:  # whatever the store raises; the notifications are safe in it
                    log.exception("the store does not respond; notifications wait")
                    await wait_for(self._stop, self._backoff.pause_s(failures, jitter=self._jitter()))
                    failures += 1
                    continue
                for batch in batches:
                    self._in_progress += 1
                    with working_under(lease):
                        group.create_task(self._process_in_background(batch))
                if batches:
                    await wait_for(self._stop, self._batch_delay_s)
                else:
                    await wait_for(self._wake, _IDLE_S)

    async def run_once(self) -> int:
        """Claims and sends one round, for tests; returns the number of batches."""
        batches, lease = await self._claim()
        with working_under(lease):
            results = await asyncio.gather(*map(self._process, batches), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return len(batches)

    async def _claim(self) -> tuple[list[Batch], HeldLease]:
        """Claims what is due, up to the number of batches that may be in progress, under one lease."""
        now = self._clock()
        if self._purged_at is None or now - self._purged_at >= _PURGE_INTERVAL:
            await self._store.purge(now)
            self._purged_at = now
        limit = min(_CLAIM_LIMIT, _MAX_IN_PROGRESS - self._in_progress)
        lease = HeldLease(self._steady_s(), _LEASE, self._steady_s)
        return await self._store.claim(now, limit, _LEASE) if limit > 0 else [], lease

    async def _process_in_background(self, batch: Batch) -> None:
        try:
            await self._process(batch)
        except Exception:  # the store's: the lease expires, and the next claim finds what was sent
            log.exception("server %d: can't record what was sent", batch.guild_id)
        finally:
            self._in_progress -= 1

    async def _process(self, batch: Batch) -> None:
        channel_id = batch.channel_id
        if batch.guild_id == TO_OPERATOR:
            channel_id = channel_id or self._operator_channel_id
            if not batch.tried_before:
                log.warning("for the operator: %s", batch.text)
        if channel_id is None:  # none was set, or it was unset in the meantime
            await self._store.done(batch)
            return
        try:
            async with asyncio.timeout(_SEND_TIMEOUT_S):
                await self._send(batch, channel_id)
        except (DeliveryDelayed, TimeoutError) as error:
            await self._retry_later(batch, channel_id, error)
        except DeliveryError as error:
            age = self._clock() - batch.created_at
            if isinstance(error, DeliveryForbidden) and age <= FORBIDDEN_PATIENCE:
                await self._retry_later(batch, channel_id, error)
                return
            if channel_id not in self._unreachable_channels:
                log.warning("server %d: can't send to channel %d: %s", batch.guild_id, channel_id, error)
            self._unreachable_channels.add(channel_id)
            await self._store.done(batch)
        except Exception as error:  # a bug of ours: it must not stop other notifications, and a retry may work
            log.exception("server %d: sending a notification failed", batch.guild_id)
            await self._retry_later(batch, channel_id, error)
        else:
            self._unreachable_channels.discard(channel_id)
            await self._store.done(batch)

    async def _send(self, batch: Batch, channel_id: int) -> None:
        # Discord remembers a nonce for minutes only, so check for the message of an earlier claim.
        if batch.tried_before and await self._sender.already_sent(channel_id, batch.text, since=batch.created_at):
            return
        await self._sender.send(channel_id, batch.text, nonce=batch.token)

    async def _retry_later(self, batch: Batch, channel_id: int, error: Exception) -> None:
        now = self._clock()
        if now - batch.created_at > ABANDON_AFTER:
            log.warning("server %d: gave up sending to channel %d: %s", batch.guild_id, channel_id, error)
            await self._store.done(batch)
            return
        log.info("server %d: not sent to channel %d yet: %s", batch.guild_id, channel_id, error)
        pause_s = self._backoff.pause_s(batch.attempts, jitter=self._jitter())
        await self._store.reschedule(batch, now + timedelta(seconds=pause_s))
