import asyncio
import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bot.domain.errors import DeliveryDelayed, DeliveryForbidden, StoreError, Undeliverable
from bot.domain.schedule import Backoff
from bot.operations.held_lease import is_overtaken
from bot.store.outbox.notifications import TO_OPERATOR, Batch, NotificationStore
from bot.worker.notifier import ABANDON_AFTER, Notifier
from tests.fakes import NOW, FakeClock, Faulty

GUILD, LOG = 10, 700
DELAYED = DeliveryDelayed("Discord is ill")
WITHIN_S = 60.0


class FakeSender(Faulty):
    """Channels that keep what was sent; a nonce that was used before sends nothing new.

    slow: channels that respond only once their event is set. overtaken: whether the latest send was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[int, str]] = []
        self.nonces: set[str] = set()
        self.slow: dict[int, asyncio.Event] = {}
        self.overtaken: bool | None = None

    async def send(self, channel_id: int, text: str, *, nonce: str) -> None:
        self.overtaken = is_overtaken()
        async with self._call("send"):
            if channel_id in self.slow:
                await self.slow[channel_id].wait()
            if nonce not in self.nonces:
                self.nonces.add(nonce)
                self.sent.append((channel_id, text))

    async def already_sent(self, channel_id: int, text: str, *, since: datetime) -> bool:
        assert since <= NOW
        async with self._call("already_sent"):
            return (channel_id, text) in self.sent


class FakeNotificationStore(Faulty, NotificationStore):
    """Batches that are due. A claimed one that is not marked as sent comes back as tried before."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[str, tuple[Batch, datetime]] = {}

    def add(self, text: str = "a change", *, guild_id: int = GUILD, channel_id: int | None = LOG) -> None:
        token = f"token-{len(self.calls)}-{len(self.waiting)}"
        batch = Batch(token, guild_id, channel_id, text, NOW, 0, tried_before=False, lease_until=NOW)
        self.waiting[token] = batch, NOW

    async def claim(self, now: datetime, limit: int, lease: timedelta) -> list[Batch]:
        async with self._call("claim"):
            due = [batch for batch, due_at in self.waiting.values() if due_at <= now][:limit]
            for batch in due:
                self.waiting[batch.token] = replace(batch, tried_before=True), now + lease
            return due

    async def done(self, batch: Batch) -> None:
        async with self._call("done"):
            self.waiting.pop(batch.token, None)

    async def reschedule(self, batch: Batch, due_at: datetime) -> None:
        async with self._call("reschedule"):
            self.waiting[batch.token] = replace(batch, attempts=batch.attempts + 1, tried_before=True), due_at

    async def purge(self, now: datetime) -> None:
        async with self._call("purge"):
            assert now >= NOW


class Harness:
    """A notifier, and everything it works with."""

    def __init__(self, operator_channel_id: int | None = None) -> None:
        self.store, self.sender, self.clock = FakeNotificationStore(), FakeSender(), FakeClock()
        self.operator_channel_id = operator_channel_id
        self.notifier = self.new_notifier()

    def new_notifier(self, **options: Any) -> Notifier:
        return Notifier(
            self.store,
            self.sender,
            operator_channel_id=self.operator_channel_id,
            clock=self.clock,
            jitter=lambda: 0.0,
            **options,
        )


@pytest.fixture
def harness() -> Harness:
    return Harness()


async def test_what_is_due_is_sent_and_marked_as_sent(harness: Harness) -> None:
    harness.store.add()
    assert await harness.notifier.run_once() == 1
    assert harness.sender.sent == [(LOG, "a change")]
    assert await harness.notifier.run_once() == 0
    assert harness.store.waiting == {}


async def test_a_notifier_that_died_after_sending_sends_it_once(harness: Harness) -> None:
    harness.store.add()
    harness.store.fail("done", StoreError("the disk is full"))
    with pytest.raises(StoreError):
        await harness.notifier.run_once()
    harness.clock.move(hours=5)
    harness.sender.nonces.clear()  # Discord remembers them for minutes only

    await harness.notifier.run_once()

    assert harness.sender.sent == [(LOG, "a change")]
    assert harness.store.waiting == {}


@pytest.mark.parametrize(("seconds", "overtaken"), [(59, False), (60, True)])
async def test_a_notification_is_sent_under_its_lease(
    harness: Harness, seconds: float, *, overtaken: bool
) -> None:
    """A process that is stopped right after the claim must not send what another one has sent since."""
    uptimes = iter([1000.0, 1000.0 + seconds])
    harness.notifier = harness.new_notifier(steady_s=lambda: next(uptimes))
    harness.store.add()
    await harness.notifier.run_once()
    assert harness.sender.overtaken is overtaken


async def test_a_lost_response_makes_no_second_message(harness: Harness) -> None:
    harness.store.add()
    harness.sender.fail("send", DELAYED, response_lost=True)
    await harness.notifier.run_once()
    harness.clock.move(hours=1)
    harness.sender.nonces.clear()
    await harness.notifier.run_once()
    assert harness.sender.sent == [(LOG, "a change")]


async def test_what_was_never_tried_is_not_searched_for(harness: Harness) -> None:
    harness.store.add()
    await harness.notifier.run_once()
    assert harness.sender.calls == ["send"]


async def test_a_delay_is_retried_after_a_growing_pause(harness: Harness) -> None:
    harness.store.add()
    harness.sender.fail("send", DELAYED, DELAYED)
    pauses = []
    for _ in range(2):
        await harness.notifier.run_once()
        [(_, due_at)] = harness.store.waiting.values()
        pauses.append((due_at - harness.clock()).total_seconds())
        harness.clock.now = due_at
    await harness.notifier.run_once()
    assert pauses == [1, 2]
    assert harness.sender.sent == [(LOG, "a change")]


async def test_after_a_day_of_failures_it_is_abandoned(harness: Harness) -> None:
    harness.store.add()
    harness.sender.fail_always("send", DELAYED)
    harness.clock.move(seconds=ABANDON_AFTER.total_seconds())
    await harness.notifier.run_once()
    assert harness.store.waiting
    harness.clock.move(hours=1)
    await harness.notifier.run_once()
    assert harness.store.waiting == {}


async def test_a_permission_that_is_away_for_moments_loses_no_notification(harness: Harness) -> None:
    harness.store.add()
    harness.sender.fail("send", DeliveryForbidden("Missing Access"))
    await harness.notifier.run_once()
    assert harness.store.waiting

    harness.clock.move(seconds=2)
    await harness.notifier.run_once()

    assert harness.store.waiting == {}
    assert harness.sender.sent == [(LOG, "a change")]


@pytest.mark.parametrize("error", [DeliveryForbidden("Missing Access"), Undeliverable("Unknown Channel")])
async def test_an_unreachable_channel_loses_only_its_own_notifications_and_logs_one_warning(
    harness: Harness, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    harness.sender.fail("send", error, error)
    for _ in range(2):
        harness.store.add()
        harness.clock.move(minutes=31)
        await harness.notifier.run_once()
    harness.store.add("elsewhere", guild_id=11, channel_id=800)
    await harness.notifier.run_once()
    assert harness.store.waiting == {}
    assert harness.sender.sent == [(800, "elsewhere")]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1


async def test_a_bug_is_logged_and_retried(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    harness.store.add()
    harness.sender.fail("send", ZeroDivisionError())
    await harness.notifier.run_once()
    assert "sending a notification failed" in caplog.text
    harness.clock.move(minutes=1)
    await harness.notifier.run_once()
    assert len(harness.sender.sent) == 1


async def test_a_failing_channel_does_not_delay_others(harness: Harness) -> None:
    harness.store.add("one", channel_id=1)
    harness.store.add("two", channel_id=2)
    harness.sender.fail("send", DELAYED)
    await harness.notifier.run_once()
    assert [text for _, text in harness.sender.sent] == ["two"]


async def test_what_has_no_channel_any_more_is_dropped(harness: Harness) -> None:
    harness.store.add(channel_id=None)
    await harness.notifier.run_once()
    assert harness.sender.calls == []
    assert harness.store.waiting == {}


async def test_the_operators_notifications_go_to_their_channel() -> None:
    harness = Harness(operator_channel_id=900)
    harness.store.add("a paid task may exist", guild_id=TO_OPERATOR, channel_id=None)
    await harness.notifier.run_once()
    assert harness.sender.sent == [(900, "a paid task may exist")]


async def test_without_an_operator_channel_they_go_to_the_log(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.store.add("a paid task may exist", guild_id=TO_OPERATOR, channel_id=None)
    await harness.notifier.run_once()
    assert "a paid task may exist" in caplog.text
    assert harness.store.waiting == {}


async def test_a_servers_notifications_never_go_to_the_operators_channel(harness: Harness) -> None:
    harness = Harness(operator_channel_id=900)
    harness.store.add(channel_id=None)
    await harness.notifier.run_once()
    assert harness.sender.sent == []


async def test_the_loop_sends_what_it_is_woken_for_and_ends_when_stopped(harness: Harness) -> None:
    task = asyncio.create_task(harness.notifier.run())
    await harness.store.wait_for_call("claim")
    harness.store.add()
    harness.notifier.wake()
    await harness.sender.wait_for_call("send")
    harness.notifier.stop()
    await task
    assert harness.sender.sent == [(LOG, "a change")]


async def test_the_loop_survives_an_outage_of_the_store(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.store.fail("claim", StoreError("the disk is full"))
    harness.store.add()
    notifier = Notifier(
        harness.store,
        harness.sender,
        operator_channel_id=None,
        clock=harness.clock,
        jitter=lambda: 0.0,
        backoff=Backoff(first_s=0.001, cap_s=0.001),
    )
    task = asyncio.create_task(notifier.run())
    await harness.sender.wait_for_call("send")
    notifier.stop()
    await task
    assert "the store does not respond" in caplog.text


async def test_what_was_sent_is_purged_once_an_hour(harness: Harness) -> None:
    for _ in range(3):
        await harness.notifier.run_once()
    assert harness.store.calls.count("purge") == 1
    harness.clock.move(hours=1)
    await harness.notifier.run_once()
    assert harness.store.calls.count("purge") == 2


async def test_a_slow_channel_delays_only_its_own_notifications(harness: Harness) -> None:
    answers = harness.sender.slow[1] = asyncio.Event()
    harness.store.add("slow", channel_id=1)
    task = asyncio.create_task(harness.notifier.run())
    async with asyncio.timeout(WITHIN_S):
        await harness.sender.wait_for_call("send")
        harness.store.add("quick", channel_id=2)
        harness.notifier.wake()
        await harness.store.wait_for_call("done")
    assert harness.sender.sent == [(2, "quick")]

    harness.notifier.stop()
    answers.set()
    await task

    assert harness.sender.sent == [(2, "quick"), (1, "slow")]
    assert harness.store.waiting == {}


async def test_a_cancelled_notifier_leaves_nothing_running(harness: Harness) -> None:
    harness.sender.slow[1] = asyncio.Event()
    harness.store.add("slow", channel_id=1)
    task = asyncio.create_task(harness.notifier.run())
    await harness.sender.wait_for_call("send")
    running = asyncio.all_tasks() - {task, asyncio.current_task()}

    task.cancel()
    await asyncio.wait([task])

    assert all(one.done() for one in running)
    assert harness.store.waiting


async def test_the_loop_survives_a_store_that_can_not_record_what_was_sent(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.store.fail("done", StoreError("the disk is full"))
    harness.store.add("first")
    task = asyncio.create_task(harness.notifier.run())
    async with asyncio.timeout(WITHIN_S):
        await harness.store.wait_for_call("done")
        harness.store.add("second", channel_id=2)
        harness.notifier.wake()
        await harness.store.wait_for_call("done", 2)
    harness.notifier.stop()
    await task
    assert [text for _, text in harness.sender.sent] == ["first", "second"]
    assert "can't record what was sent" in caplog.text
