import asyncio
import logging
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bot.domain.errors import DeliveryDelayed, DeliveryForbidden, StoreError, Undeliverable
from bot.domain.schedule import Backoff
from bot.store.outbox.notifications import TO_OPERATOR, Batch
from bot.worker.notifier import GIVEN_UP_AFTER, Notifier
from tests.fakes import NOW, FakeClock, Faulty

GUILD, LOG = 10, 700
DELAYED = DeliveryDelayed("Discord is ill")
WITHIN_S = 60.0


class FakeHerald(Faulty):
    """Channels that keep what was told; a nonce that is known makes nothing new.

    slow: channels that answer only when their event is set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[int, str]] = []
        self.nonces: set[str] = set()
        self.slow: dict[int, asyncio.Event] = {}

    async def tell(self, channel_id: int, text: str, *, nonce: str) -> None:
        async with self._call("tell"):
            if channel_id in self.slow:
                await self.slow[channel_id].wait()
            if nonce not in self.nonces:
                self.nonces.add(nonce)
                self.told.append((channel_id, text))

    async def was_told(self, channel_id: int, text: str, *, since: datetime) -> bool:
        assert since <= NOW
        async with self._call("was_told"):
            return (channel_id, text) in self.told


class FakeBoard(Faulty):
    """Batches that are due; a claimed one that nobody strikes off comes back as tried before."""

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

    async def later(self, batch: Batch, due_at: datetime) -> None:
        async with self._call("later"):
            self.waiting[batch.token] = replace(batch, attempts=batch.attempts + 1, tried_before=True), due_at

    async def purge(self, now: datetime) -> None:
        async with self._call("purge"):
            assert now >= NOW


class Square:
    """A crier, and all it works with."""

    def __init__(self, operator_channel_id: int | None = None) -> None:
        self.board, self.herald, self.clock = FakeBoard(), FakeHerald(), FakeClock()
        self.crier = Notifier(
            self.board,
            self.herald,
            operator_channel_id=operator_channel_id,
            clock=self.clock,
            chance=lambda: 0.0,
        )


@pytest.fixture
def square() -> Square:
    return Square()


async def test_what_is_due_is_told_and_struck_off(square: Square) -> None:
    square.board.add()
    assert await square.crier.turn() == 1
    assert square.herald.told == [(LOG, "a change")]
    assert await square.crier.turn() == 0
    assert square.board.waiting == {}


async def test_a_crier_that_died_after_sending_tells_it_once(square: Square) -> None:
    square.board.add()
    square.board.fail("done", StoreError("the disk is full"))
    with pytest.raises(StoreError):
        await square.crier.turn()
    square.clock.move(hours=5)
    square.herald.nonces.clear()  # Discord remembers them for minutes only

    await square.crier.turn()

    assert square.herald.told == [(LOG, "a change")]
    assert square.board.waiting == {}


async def test_an_answer_that_was_lost_makes_no_second_message(square: Square) -> None:
    square.board.add()
    square.herald.fail("tell", DELAYED, late=True)
    await square.crier.turn()
    square.clock.move(hours=1)
    square.herald.nonces.clear()
    await square.crier.turn()
    assert square.herald.told == [(LOG, "a change")]


async def test_what_was_never_tried_is_not_looked_for(square: Square) -> None:
    square.board.add()
    await square.crier.turn()
    assert square.herald.calls == ["tell"]


async def test_a_delay_is_tried_again_after_a_growing_pause(square: Square) -> None:
    square.board.add()
    square.herald.fail("tell", DELAYED, DELAYED)
    pauses = []
    for _ in range(2):
        await square.crier.turn()
        [(_, due_at)] = square.board.waiting.values()
        pauses.append((due_at - square.clock()).total_seconds())
        square.clock.now = due_at
    await square.crier.turn()
    assert pauses == [1, 2]
    assert square.herald.told == [(LOG, "a change")]


async def test_after_a_day_of_failures_it_is_given_up(square: Square) -> None:
    square.board.add()
    square.herald.fail_from_now_on("tell", DELAYED)
    square.clock.move(seconds=GIVEN_UP_AFTER.total_seconds())
    await square.crier.turn()
    assert square.board.waiting
    square.clock.move(hours=1)
    await square.crier.turn()
    assert square.board.waiting == {}


@pytest.mark.parametrize("error", [DeliveryForbidden("Missing Access"), Undeliverable("Unknown Channel")])
async def test_a_closed_channel_costs_its_own_notices_only_and_one_warning(
    square: Square, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    square.herald.fail("tell", error, error)
    for _ in range(2):
        square.board.add()
        await square.crier.turn()
    square.board.add("elsewhere", guild_id=11, channel_id=800)
    await square.crier.turn()
    assert square.board.waiting == {}
    assert square.herald.told == [(800, "elsewhere")]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1


async def test_a_fault_of_ours_is_logged_and_tried_again(square: Square, caplog: pytest.LogCaptureFixture) -> None:
    square.board.add()
    square.herald.fail("tell", ZeroDivisionError())
    await square.crier.turn()
    assert "broke off" in caplog.text
    square.clock.move(minutes=1)
    await square.crier.turn()
    assert len(square.herald.told) == 1


async def test_one_that_hangs_does_not_keep_others(square: Square) -> None:
    square.board.add("one", channel_id=1)
    square.board.add("two", channel_id=2)
    square.herald.fail("tell", DELAYED)
    await square.crier.turn()
    assert [text for _, text in square.herald.told] == ["two"]


async def test_what_has_no_channel_any_more_is_struck_off(square: Square) -> None:
    square.board.add(channel_id=None)
    await square.crier.turn()
    assert square.herald.calls == []
    assert square.board.waiting == {}


async def test_the_operator_is_told_in_their_channel() -> None:
    square = Square(operator_channel_id=900)
    square.board.add("a paid task may exist", guild_id=TO_OPERATOR, channel_id=None)
    await square.crier.turn()
    assert square.herald.told == [(900, "a paid task may exist")]


async def test_an_operator_without_a_channel_finds_it_in_the_log(
    square: Square, caplog: pytest.LogCaptureFixture
) -> None:
    square.board.add("a paid task may exist", guild_id=TO_OPERATOR, channel_id=None)
    await square.crier.turn()
    assert "a paid task may exist" in caplog.text
    assert square.board.waiting == {}


async def test_the_operators_channel_is_never_a_servers(square: Square) -> None:
    square = Square(operator_channel_id=900)
    square.board.add(channel_id=None)
    await square.crier.turn()
    assert square.herald.told == []


async def test_the_loop_tells_what_it_is_woken_for_and_ends_when_it_is_stopped(square: Square) -> None:
    task = asyncio.create_task(square.crier.run())
    await square.board.called("claim")
    square.board.add()
    square.crier.wake()
    await square.herald.called("tell")
    square.crier.stop()
    await task
    assert square.herald.told == [(LOG, "a change")]


async def test_the_loop_lives_through_an_ill_store(square: Square, caplog: pytest.LogCaptureFixture) -> None:
    square.board.fail("claim", StoreError("the disk is full"))
    square.board.add()
    crier = Notifier(
        square.board,
        square.herald,
        operator_channel_id=None,
        clock=square.clock,
        chance=lambda: 0.0,
        backoff=Backoff(first_s=0.001, cap_s=0.001),
    )
    task = asyncio.create_task(crier.run())
    await square.herald.called("tell")
    crier.stop()
    await task
    assert "the store does not answer" in caplog.text


async def test_what_was_told_is_purged_now_and_then(square: Square) -> None:
    for _ in range(3):
        await square.crier.turn()
    assert square.board.calls.count("purge") == 1
    square.clock.move(hours=1)
    await square.crier.turn()
    assert square.board.calls.count("purge") == 2


async def test_a_slow_channel_keeps_only_its_own_notices_waiting(square: Square) -> None:
    answers = square.herald.slow[1] = asyncio.Event()
    square.board.add("slow", channel_id=1)
    task = asyncio.create_task(square.crier.run())
    async with asyncio.timeout(WITHIN_S):
        await square.herald.called("tell")
        square.board.add("quick", channel_id=2)
        square.crier.wake()
        await square.board.called("done")
    assert square.herald.told == [(2, "quick")]

    square.crier.stop()
    answers.set()
    await task

    assert square.herald.told == [(2, "quick"), (1, "slow")]
    assert square.board.waiting == {}


async def test_a_crier_that_is_cut_off_leaves_nothing_running(square: Square) -> None:
    square.herald.slow[1] = asyncio.Event()
    square.board.add("slow", channel_id=1)
    task = asyncio.create_task(square.crier.run())
    await square.herald.called("tell")
    running = asyncio.all_tasks() - {task, asyncio.current_task()}

    task.cancel()
    await asyncio.wait([task])

    assert all(it.done() for it in running)
    assert square.board.waiting


async def test_the_loop_lives_through_a_store_that_does_not_take_what_was_told(
    square: Square, caplog: pytest.LogCaptureFixture
) -> None:
    square.board.fail("done", StoreError("the disk is full"))
    square.board.add("first")
    task = asyncio.create_task(square.crier.run())
    async with asyncio.timeout(WITHIN_S):
        await square.board.called("done")
        square.board.add("second", channel_id=2)
        square.crier.wake()
        await square.board.called("done", 2)
    square.crier.stop()
    await task
    assert [text for _, text in square.herald.told] == ["first", "second"]
    assert "does not take what was told" in caplog.text
