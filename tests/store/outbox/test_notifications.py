import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from bot.chat.messages.markdown import CONTENT_MAX
from bot.chat.messages.notification_texts import render
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, Job, JobState, Order
from bot.domain.notifications import Announcement, StoredNotification
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.jobs.job_store import JobStore
from bot.store.outbox import notifications
from bot.store.outbox.notifications import TO_OPERATOR, Batch, NotificationStore
from bot.store.schema import notifications as table
from tests.store.factories import MINUTE, NOW, SECOND, bring_to

GUILD, LOG = 10, 700


@pytest.fixture
def board(database: Database) -> NotificationStore:
    return NotificationStore(database, render)


async def set_log_channel(database: Database, channel_id: int | None = LOG, guild_id: int = GUILD) -> None:
    async with database.write() as connection:
        await guild_settings.write(connection, guild_id, {"log_channel_id": channel_id})


async def post(database: Database, *texts: str, guild_id: int = GUILD, key: str | None = None) -> None:
    async with database.write() as connection:
        for text in texts:
            await notifications.post(connection, guild_id, Announcement(text), NOW, key=key)


async def rows(database: Database) -> int:
    async with database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


async def claim(board: NotificationStore, now: timedelta = timedelta(0)) -> list[Batch]:
    return await board.claim(NOW + now, 20, MINUTE)


async def test_what_happens_together_is_told_in_one_message_and_in_its_order(
    database: Database, board: NotificationStore
) -> None:
    await set_log_channel(database)
    await post(database, *(f"change {n}" for n in range(10)))
    await post(database, "and the last one")

    [batch] = await claim(board)

    assert batch.text.splitlines() == [*(f"change {n}" for n in range(10)), "and the last one"]
    assert (batch.channel_id, batch.tried_before) == (LOG, False)


async def test_a_job_that_fails_is_told_in_the_same_transaction(
    database: Database, board: NotificationStore, store: JobStore
) -> None:
    await set_log_channel(database)
    await bring_to(store, JobState.FAILED)
    assert ["A video for <@1> failed" in batch.text for batch in await claim(board)] == [True]


async def test_a_server_without_a_log_channel_has_nothing_written(
    database: Database, board: NotificationStore
) -> None:
    await post(database, "nobody hears this")
    assert await rows(database) == 0
    await set_log_channel(database, None)
    await post(database, "nor this")
    assert await rows(database) == 0
    assert await claim(board) == []


async def test_a_notice_that_names_its_channel_needs_no_log_channel(
    database: Database, board: NotificationStore
) -> None:
    async with database.write() as connection:
        await notifications.post(connection, GUILD, Announcement("hello"), NOW, channel_id=55)
    [batch] = await claim(board)
    assert batch.channel_id == 55


async def test_the_place_is_the_log_channel_at_the_time_of_telling(
    database: Database, board: NotificationStore
) -> None:
    await set_log_channel(database)
    await post(database, "a change")
    await set_log_channel(database, 701)
    assert [batch.channel_id for batch in await claim(board)] == [701]


async def test_a_log_channel_that_was_taken_back_leaves_no_place(
    database: Database, board: NotificationStore
) -> None:
    await set_log_channel(database)
    await post(database, "a change")
    await set_log_channel(database, None)
    assert [batch.channel_id for batch in await claim(board)] == [None]


async def test_what_is_told_with_the_same_key_is_told_once(database: Database, board: NotificationStore) -> None:
    await set_log_channel(database)
    await post(database, "refused", key="refused:1")
    await post(database, "refused again", key="refused:1")
    [batch] = await claim(board)
    assert batch.text == "refused"
    await board.done(batch)
    await post(database, "and once more", key="refused:1")
    assert await claim(board, MINUTE * 5) == []


async def test_a_told_key_is_kept_for_a_day_and_its_text_not_at_all(
    database: Database, board: NotificationStore
) -> None:
    await set_log_channel(database)
    await post(database, "refused", key="refused:1")
    await post(database, "a change")
    for batch in await claim(board):
        await board.done(batch)
    async with database.read() as connection:
        [row] = (await connection.execute(select(table.c.text, table.c.payload))).all()
        assert (row.text, row.payload) == (None, None)

    await board.purge(NOW + timedelta(hours=23))
    assert await rows(database) == 1
    await board.purge(NOW + timedelta(hours=24))
    assert await rows(database) == 0


async def test_what_waits_is_never_purged(database: Database, board: NotificationStore) -> None:
    await set_log_channel(database)
    await post(database, "a change")
    await board.purge(NOW + timedelta(days=3))
    assert await rows(database) == 1


async def test_a_batch_outlives_the_claim_with_its_name_and_takes_nothing_new_in(
    database: Database, board: NotificationStore
) -> None:
    """The name is the nonce: with another text under it, what came later would count as told."""
    await set_log_channel(database)
    await post(database, "before the crash")
    [first] = await claim(board)
    await post(database, "after it")
    assert await claim(board) == []

    [again] = await claim(board, MINUTE)
    assert (again.token, again.text, again.tried_before) == (first.token, "before the crash", True)
    await board.done(again)
    [rest] = await claim(board, MINUTE)
    assert rest.text == "after it"
    assert rest.token != first.token


def in_new_words(stored: Sequence[StoredNotification]) -> list[str]:
    return [f"{one.kind} in new words" if one.text is None else one.text for one in stored]


async def test_a_message_that_may_have_been_sent_keeps_its_words_over_an_update(
    database: Database, board: NotificationStore
) -> None:
    await set_log_channel(database)
    await post(database, "a change", "another")
    [first] = await claim(board)

    [again] = await claim(NotificationStore(database, in_new_words), MINUTE)

    assert (again.token, again.text) == (first.token, first.text)


async def test_a_notification_of_an_unknown_kind_holds_up_nothing(
    database: Database, board: NotificationStore, caplog: pytest.LogCaptureFixture
) -> None:
    await set_log_channel(database)
    await post(database, "one", "two")
    async with database.write() as connection:
        ids = (await connection.execute(select(table.c.id).order_by(table.c.id))).scalars().all()
        unknown = {"kind": "of_tomorrow", "payload": {"user_id": 7}}
        await connection.execute(update(table).where(table.c.id == ids[0]).values(unknown))

    [batch] = await claim(board)

    assert batch.text.splitlines()[1] == "two"
    assert "of\\_tomorrow" in batch.text
    assert "can't render a notification" in caplog.text


async def test_a_crier_that_lost_its_claim_changes_nothing(database: Database, board: NotificationStore) -> None:
    await set_log_channel(database)
    await post(database, "a change")
    [stale] = await claim(board)
    [held] = await claim(board, MINUTE)

    await board.reschedule(stale, NOW + timedelta(days=5))
    await board.done(stale)

    assert await rows(database) == 1
    [again] = await claim(board, 2 * MINUTE)
    assert again.token == held.token
    await board.done(again)
    assert await rows(database) == 0


async def test_behind_a_batch_that_must_wait_its_address_waits_and_no_other(
    database: Database, board: NotificationStore
) -> None:
    await set_log_channel(database)
    await set_log_channel(database, 800, guild_id=11)
    await post(database, "first")
    [failed] = await claim(board)
    await board.reschedule(failed, NOW + 30 * SECOND)
    await post(database, "second")
    await post(database, "elsewhere", guild_id=11)

    assert [batch.text for batch in await claim(board)] == ["elsewhere"]
    [again] = await claim(board, 30 * SECOND)
    assert (again.text, again.attempts) == ("first", 1)


async def test_two_criers_never_take_the_same_or_the_same_address(
    database: Database, board: NotificationStore
) -> None:
    for guild_id in range(10, 16):
        await set_log_channel(database, guild_id * 10, guild_id)
        await post(database, *("x" * 900 for _ in range(5)), guild_id=guild_id)

    claims = await asyncio.gather(*(claim(board) for _ in range(4)))

    taken = [batch.guild_id for batches in claims for batch in batches]
    assert len(taken) == len(set(taken))
    # One that was stepped over by all, because two met at it, is there for the next.
    taken += [batch.guild_id for batch in await claim(board)]
    assert sorted(taken) == list(range(10, 16))


async def test_a_flood_becomes_few_messages_none_too_long(database: Database, board: NotificationStore) -> None:
    await set_log_channel(database)
    texts = [f"⚙️ <@1> changed **limit {n}**: {n} → {n + 1}" for n in range(500)]
    await post(database, *texts)

    told: list[str] = []
    while batches := await claim(board):
        [batch] = batches
        assert len(batch.text) <= CONTENT_MAX
        told.append(batch.text)
        await board.done(batch)

    assert "\n".join(told).splitlines() == texts
    assert len(told) <= 15


@pytest.mark.parametrize("text", ["x" * 5000, "🎬" * 1500, "\\*" * 1001])
async def test_a_very_long_text_is_cut_to_one_message(
    database: Database, board: NotificationStore, text: str
) -> None:
    await set_log_channel(database)
    await post(database, text)
    [batch] = await claim(board)
    assert len(batch.text.encode("utf-16-le")) // 2 <= CONTENT_MAX
    assert batch.text.endswith("…")
    assert not batch.text.endswith("\\…")


def a_failed_job(reason: FailureReason) -> Job:
    detail = FailureDetail(FailureCause.REFUSED_BY_SERVICE, quote="It said *no*.")
    return Job(
        "job_1", JobState.FAILED, GUILD, 100, 7, Order("a @everyone " + "*" * 400), NOW, NOW,
        failure_reason=reason, failure_detail=detail,
    )  # fmt: skip


async def failed(database: Database, job: Job) -> None:
    async with database.write() as connection:
        await notifications.job_failed(connection, job, NOW)


async def test_a_failure_names_the_member_the_reason_and_the_beginning_of_the_prompt(
    database: Database, board: NotificationStore
) -> None:
    await set_log_channel(database)
    await failed(database, a_failed_job(FailureReason.REFUSED))
    [batch] = await claim(board)
    assert batch.text.startswith(
        "❌ A video for <@7> failed. The video service refused it: “It said \\*no\\*.”.\n> a \\@everyone"
    )
    assert len(batch.text) < 320


async def test_a_lost_answer_is_told_to_the_operator_too(database: Database, board: NotificationStore) -> None:
    await set_log_channel(database)
    await failed(database, a_failed_job(FailureReason.OUTCOME_UNKNOWN))
    told = {batch.guild_id: batch for batch in await claim(board)}
    assert set(told) == {GUILD, TO_OPERATOR}
    assert told[TO_OPERATOR].channel_id is None
    assert "`job_1`" in told[TO_OPERATOR].text
    assert f"`{GUILD}`" in told[TO_OPERATOR].text
    assert "everyone" not in told[TO_OPERATOR].text


async def test_a_task_that_was_given_up_is_told_to_the_operator_with_its_id(
    database: Database, board: NotificationStore
) -> None:
    """It may still end, and cost."""
    await failed(database, replace(a_failed_job(FailureReason.TIMED_OUT), upstream_id="task-77"))
    [batch] = await claim(board)
    assert batch.guild_id == TO_OPERATOR
    assert "`job_1`" in batch.text
    assert "task\\-77" in batch.text
    assert "everyone" not in batch.text


async def test_the_operator_is_told_though_the_server_wants_to_hear_nothing(
    database: Database, board: NotificationStore
) -> None:
    await failed(database, a_failed_job(FailureReason.OUTCOME_UNKNOWN))
    assert [batch.guild_id for batch in await claim(board)] == [TO_OPERATOR]


async def test_what_a_moderator_declined_is_no_failure(database: Database, board: NotificationStore) -> None:
    await set_log_channel(database)
    await failed(database, a_failed_job(FailureReason.DECLINED))
    await failed(database, replace(a_failed_job(FailureReason.REFUSED), failure_reason=None))
    assert await claim(board) == []


async def test_a_rolled_back_change_is_not_told(database: Database, board: NotificationStore) -> None:
    await set_log_channel(database)
    with contextlib.suppress(ZeroDivisionError):
        async with database.write() as connection:
            await notifications.post(connection, GUILD, Announcement("never happened"), NOW)
            raise ZeroDivisionError
    assert await claim(board) == []
