"""Tells in log channels what waits to be told: claims it under a lease, sends it, strikes it off.

It runs beside the worker's loop, in the same process. A crier that dies anywhere between these three leaves a
batch whose lease runs out; whoever claims it next looks whether it was sent before sending it. A channel that is
gone or forbidden costs what was to be told there, never anything else; one that is slow keeps only itself waiting.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from bot.domain.errors import DeliveryDelayed, DeliveryError
from bot.domain.schedule import Backoff
from bot.store.outbox.notifications import TO_OPERATOR, Batch, NotificationStore

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
GIVEN_UP_AFTER = timedelta(days=1)
"""How old a notice may be when sending it fails once more."""

_AT_ONCE = 20
"""Batches claimed together."""
_UNDER_WAY_MAX = 100
"""Batches looked after side by side, slow ones among them."""
_SEND_S = 45.0
_IDLE_S = 2.0
_PAUSE_S = 1.0
"""Between two claims: what happens meanwhile in one server becomes one message."""
_PURGE_EVERY = timedelta(hours=1)


class NotificationSender(Protocol):
    """What the crier needs of the chat. Both methods raise `DeliveryError`'s children."""

    async def tell(self, channel_id: int, text: str, *, nonce: str) -> None:
        """Sends the text; with a nonce that was just used, nothing new."""
        ...

    async def was_told(self, channel_id: int, text: str, *, since: datetime) -> bool:
        """Whether the bot has sent just this text there since then."""
        ...


class Notifier:
    """Tells all notices until it is stopped. One task runs `run`; anyone may `wake` it."""

    def __init__(
        self,
        board: NotificationStore,
        herald: NotificationSender,
        *,
        operator_channel_id: int | None,
        clock: Callable[[], datetime],
        chance: Callable[[], float],
        backoff: Backoff = Backoff(first_s=2, cap_s=300),
    ) -> None:
        """operator_channel_id: where the operator is told; None: in the log only. chance: random, in [0, 1)."""
        self._board = board
        self._herald = herald
        self._operator_channel_id = operator_channel_id
        self._clock = clock
        self._chance = chance
        self._backoff = backoff
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._closed_channels: set[int] = set()
        self._purged_at: datetime | None = None
        self._under_way = 0

    def wake(self) -> None:
        """Something may be due now: look at once."""
        self._wake.set()

    def stop(self) -> None:
        """Ends the loop after what is under way."""
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Runs until `stop` is called, through outages of the store and of Discord."""
        failures = 0
        async with asyncio.TaskGroup() as group:
            while not self._stop.is_set():
                self._wake.clear()
                try:
                    batches = await self._claim()
                    failures = 0
                except Exception:  # whatever the store has; the notices are safe in it
                    log.exception("the store does not answer; what is to be told waits")
                    await _within(self._backoff.pause_s(failures, chance=self._chance()), self._stop)
                    failures += 1
                    continue
                for batch in batches:
                    self._under_way += 1
                    group.create_task(self._by_itself(batch))
                if batches:
                    await _within(_PAUSE_S, self._stop)
                else:
                    await _within(_IDLE_S, self._wake)

    async def turn(self) -> int:
        """One round from claim to the last message of it, for tests; how many messages that were."""
        batches = await self._claim()
        results = await asyncio.gather(*map(self._look_after, batches), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return len(batches)

    async def _claim(self) -> list[Batch]:
        """Takes what is due, as much as there is room for beside what is under way."""
        now = self._clock()
        if self._purged_at is None or now - self._purged_at >= _PURGE_EVERY:
            await self._board.purge(now)
            self._purged_at = now
        room = min(_AT_ONCE, _UNDER_WAY_MAX - self._under_way)
        return await self._board.claim(now, room, LEASE) if room > 0 else []

    async def _by_itself(self, batch: Batch) -> None:
        try:
            await self._look_after(batch)
        except Exception:  # the store's: the lease runs out, and what was sent is found then
            log.exception("server %d: the store does not take what was told", batch.guild_id)
        finally:
            self._under_way -= 1

    async def _look_after(self, batch: Batch) -> None:
        channel_id = self._operator_channel_id if batch.guild_id == TO_OPERATOR else None
        channel_id = batch.channel_id or channel_id
        if batch.guild_id == TO_OPERATOR and not batch.tried_before:
            log.warning("for the operator: %s", batch.text)
        if channel_id is None:  # none was set, or it was taken back meanwhile
            await self._board.done(batch)
            return
        try:
            async with asyncio.timeout(_SEND_S):
                await self._tell(batch, channel_id)
        except (DeliveryDelayed, TimeoutError) as error:
            await self._put_off(batch, channel_id, error)
        except DeliveryError as error:
            if channel_id not in self._closed_channels:
                log.warning("server %d: nothing can be told in channel %d: %s", batch.guild_id, channel_id, error)
            self._closed_channels.add(channel_id)
            await self._board.done(batch)
        except Exception as error:  # a fault of ours: not worth more than one notice, but worth another try
            log.exception("server %d: telling broke off", batch.guild_id)
            await self._put_off(batch, channel_id, error)
        else:
            self._closed_channels.discard(channel_id)
            await self._board.done(batch)

    async def _tell(self, batch: Batch, channel_id: int) -> None:
        # The nonce covers some minutes only; an earlier claim's message is looked for.
        if batch.tried_before and await self._herald.was_told(channel_id, batch.text, since=batch.created_at):
            return
        await self._herald.tell(channel_id, batch.text, nonce=batch.token)

    async def _put_off(self, batch: Batch, channel_id: int, error: Exception) -> None:
        now = self._clock()
        if now - batch.created_at > GIVEN_UP_AFTER:
            log.warning("server %d: not told in channel %d for a day: %s", batch.guild_id, channel_id, error)
            await self._board.done(batch)
            return
        log.info("server %d: not told in channel %d yet: %s", batch.guild_id, channel_id, error)
        pause_s = self._backoff.pause_s(batch.attempts, chance=self._chance())
        await self._board.later(batch, now + timedelta(seconds=pause_s))


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Waits for the event, so long at the most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
