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
def outbox(database: Database) -> NotificationStore:
    return NotificationStore(database, render)


async def set_log_channel(database: Database, channel_id: int | None = LOG, guild_id: int = GUILD) -> None:
    async with database.write() as connection:
        await guild_settings.write(connection, guild_id, {"log_channel_id": channel_id})


async def post(database: Database, *texts: str, guild_id: int = GUILD, key: str | None = None) -> None:
    async with database.write() as connection:
        for text in texts:
            await notifications.post(connection, guild_id, Announcement(text), NOW, key=key)


async def row_count(database: Database) -> int:
    async with database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


async def claim(outbox: NotificationStore, now: timedelta = timedelta(0)) -> list[Batch]:
    return await outbox.claim(NOW + now, 20, MINUTE)


async def test_notifications_are_sent_together_in_one_message_in_order(
    database: Database, outbox: NotificationStore
) -> None:
    await set_log_channel(database)
    await post(database, *(f"change {n}" for n in range(10)))
    await post(database, "and the last one")

    [batch] = await claim(outbox)

    assert batch.text.splitlines() == [*(f"change {n}" for n in range(10)), "and the last one"]
    assert (batch.channel_id, batch.tried_before) == (LOG, False)


async def test_a_failed_job_is_notified(database: Database, outbox: NotificationStore, store: JobStore) -> None:
    await set_log_channel(database)
    await bring_to(store, JobState.FAILED)
    assert ["A video for <@1> failed" in batch.text for batch in await claim(outbox)] == [True]


async def test_no_notification_is_written_for_a_server_without_a_log_channel(
    database: Database, outbox: NotificationStore
) -> None:
    await post(database, "nobody hears this")
    assert await row_count(database) == 0
    await set_log_channel(database, None)
    await post(database, "nor this")
    assert await row_count(database) == 0
    assert await claim(outbox) == []


async def test_a_notification_with_its_own_channel_needs_no_log_channel(
    database: Database, outbox: NotificationStore
) -> None:
    async with database.write() as connection:
        await notifications.post(connection, GUILD, Announcement("hello"), NOW, channel_id=55)
    [batch] = await claim(outbox)
    assert batch.channel_id == 55


async def test_a_notification_goes_to_the_log_channel_at_the_time_of_sending(
    database: Database, outbox: NotificationStore
) -> None:
    await set_log_channel(database)
    await post(database, "a change")
    await set_log_channel(database, 701)
    assert [batch.channel_id for batch in await claim(outbox)] == [701]


async def test_a_notification_has_no_channel_after_the_log_channel_was_removed(
    database: Database, outbox: NotificationStore
) -> None:
    await set_log_channel(database)
    await post(database, "a change")
    await set_log_channel(database, None)
    assert [batch.channel_id for batch in await claim(outbox)] == [None]


async def test_notifications_with_the_same_key_are_sent_once(
    database: Database, outbox: NotificationStore
) -> None:
    await set_log_channel(database)
    await post(database, "refused", key="refused:1")
    await post(database, "refused again", key="refused:1")
    [batch] = await claim(outbox)
    assert batch.text == "refused"
    await outbox.done(batch)
    await post(database, "and once more", key="refused:1")
    assert await claim(outbox, MINUTE * 5) == []


async def test_the_key_of_a_sent_notification_is_kept_for_a_day_and_its_text_is_not_kept(
    database: Database, outbox: NotificationStore
) -> None:
    await set_log_channel(database)
    await post(database, "refused", key="refused:1")
    await post(database, "a change")
    for batch in await claim(outbox):
        await outbox.done(batch)
    async with database.read() as connection:
        [row] = (await connection.execute(select(table.c.text, table.c.payload))).all()
        assert (row.text, row.payload) == (None, None)

    await outbox.purge(NOW + timedelta(hours=23))
    assert await row_count(database) == 1
    await outbox.purge(NOW + timedelta(hours=24))
    assert await row_count(database) == 0


async def test_pending_notifications_are_never_purged(database: Database, outbox: NotificationStore) -> None:
    await set_log_channel(database)
    await post(database, "a change")
    await outbox.purge(NOW + timedelta(days=3))
    assert await row_count(database) == 1


async def test_a_batch_that_is_claimed_again_keeps_its_token_and_its_notifications(
    database: Database, outbox: NotificationStore
) -> None:
    """The token is the nonce: a notification added under the same token might count as sent without being sent."""
    await set_log_channel(database)
    await post(database, "before the crash")
    [first] = await claim(outbox)
    await post(database, "after it")
    assert await claim(outbox) == []

    [again] = await claim(outbox, MINUTE)
    assert (again.token, again.text, again.tried_before) == (first.token, "before the crash", True)
    await outbox.done(again)
    [rest] = await claim(outbox, MINUTE)
    assert rest.text == "after it"
    assert rest.token != first.token


def render_with_other_words(stored: Sequence[StoredNotification]) -> list[str]:
    return [f"{one.kind} in new words" if one.text is None else one.text for one in stored]


async def test_a_message_that_may_have_been_sent_keeps_its_text_after_an_update(
    database: Database, outbox: NotificationStore
) -> None:
    await set_log_channel(database)
    await post(database, "a change", "another")
    [first] = await claim(outbox)

    [again] = await claim(NotificationStore(database, render_with_other_words), MINUTE)

    assert (again.token, again.text) == (first.token, first.text)


async def test_a_notification_of_an_unknown_kind_does_not_delay_others(
    database: Database, outbox: NotificationStore, caplog: pytest.LogCaptureFixture
) -> None:
    await set_log_channel(database)
    await post(database, "one", "two")
    async with database.write() as connection:
        ids = (await connection.execute(select(table.c.id).order_by(table.c.id))).scalars().all()
        unknown = {"kind": "of_tomorrow", "payload": {"user_id": 7}}
        await connection.execute(update(table).where(table.c.id == ids[0]).values(unknown))

    [batch] = await claim(outbox)

    assert batch.text.splitlines()[1] == "two"
    assert "of\\_tomorrow" in batch.text
    assert "can't render a notification" in caplog.text


async def test_a_sender_that_lost_its_claim_changes_nothing(database: Database, outbox: NotificationStore) -> None:
    await set_log_channel(database)
    await post(database, "a change")
    [stale] = await claim(outbox)
    [held] = await claim(outbox, MINUTE)

    await outbox.reschedule(stale, NOW + timedelta(days=5))
    await outbox.done(stale)

    assert await row_count(database) == 1
    [again] = await claim(outbox, 2 * MINUTE)
    assert again.token == held.token
    await outbox.done(again)
    assert await row_count(database) == 0


async def test_a_delayed_batch_delays_its_own_channel_only(database: Database, outbox: NotificationStore) -> None:
    await set_log_channel(database)
    await set_log_channel(database, 800, guild_id=11)
    await post(database, "first")
    [failed] = await claim(outbox)
    await outbox.reschedule(failed, NOW + 30 * SECOND)
    await post(database, "second")
    await post(database, "elsewhere", guild_id=11)

    assert [batch.text for batch in await claim(outbox)] == ["elsewhere"]
    [again] = await claim(outbox, 30 * SECOND)
    assert (again.text, again.attempts) == ("first", 1)


async def test_simultaneous_claims_never_get_the_same_channel(
    database: Database, outbox: NotificationStore
) -> None:
    for guild_id in range(10, 16):
        await set_log_channel(database, guild_id * 10, guild_id)
        await post(database, *("x" * 900 for _ in range(5)), guild_id=guild_id)

    claims = await asyncio.gather(*(claim(outbox) for _ in range(4)))

    taken = [batch.guild_id for batches in claims for batch in batches]
    assert len(taken) == len(set(taken))
    # A server that every claim skipped, because it was locked, is left for the next claim.
    taken += [batch.guild_id for batch in await claim(outbox)]
    assert sorted(taken) == list(range(10, 16))


@pytest.mark.full
async def test_many_notifications_become_a_few_messages_within_the_length_limit(
    database: Database, outbox: NotificationStore
) -> None:
    await set_log_channel(database)
    texts = [f"⚙️ <@1> changed **limit {n}**: {n} → {n + 1}" for n in range(500)]
    await post(database, *texts)

    sent: list[str] = []
    while batches := await claim(outbox):
        [batch] = batches
        assert len(batch.text) <= CONTENT_MAX
        sent.append(batch.text)
        await outbox.done(batch)

    assert "\n".join(sent).splitlines() == texts
    assert len(sent) <= 15


@pytest.mark.parametrize("text", ["x" * 5000, "🎬" * 1500, "\\*" * 1001])
async def test_a_very_long_text_is_truncated_to_one_message(
    database: Database, outbox: NotificationStore, text: str
) -> None:
    await set_log_channel(database)
    await post(database, text)
    [batch] = await claim(outbox)
    assert len(batch.text.encode("utf-16-le")) // 2 <= CONTENT_MAX
    assert batch.text.endswith("…")
    assert not batch.text.endswith("\\…")


def failed_job(reason: FailureReason) -> Job:
    detail = FailureDetail(FailureCause.REFUSED_BY_SERVICE, quote="It said *no*.")
    return Job(
        "job_1", JobState.FAILED, GUILD, 100, 7, Order("a @everyone " + "*" * 400), NOW, NOW,
        failure_reason=reason, failure_detail=detail,
    )  # fmt: skip


async def notify_failed_job(database: Database, job: Job) -> None:
    async with database.write() as connection:
        await notifications.job_failed(connection, job, NOW)


async def test_a_failure_names_the_member_the_reason_and_the_beginning_of_the_prompt(
    database: Database, outbox: NotificationStore
) -> None:
    await set_log_channel(database)
    await notify_failed_job(database, failed_job(FailureReason.REFUSED))
    [batch] = await claim(outbox)
    assert batch.text.startswith(
        "❌ A video for <@7> failed. The video service refused it: “It said \\*no\\*”.\n> a \\@everyone"
    )
    assert len(batch.text) < 320


async def test_a_job_with_an_unknown_outcome_is_notified_to_the_operator_too(
    database: Database, outbox: NotificationStore
) -> None:
    await set_log_channel(database)
    await notify_failed_job(database, failed_job(FailureReason.OUTCOME_UNKNOWN))
    sent = {batch.guild_id: batch for batch in await claim(outbox)}
    assert set(sent) == {GUILD, TO_OPERATOR}
    assert sent[TO_OPERATOR].channel_id is None
    assert "`job_1`" in sent[TO_OPERATOR].text
    assert f"`{GUILD}`" in sent[TO_OPERATOR].text
    assert "everyone" not in sent[TO_OPERATOR].text


async def test_a_timed_out_task_is_notified_to_the_operator_with_its_id(
    database: Database, outbox: NotificationStore
) -> None:
    """It may still finish, and cost money."""
    await notify_failed_job(database, replace(failed_job(FailureReason.TIMED_OUT), upstream_id="task-77"))
    [batch] = await claim(outbox)
    assert batch.guild_id == TO_OPERATOR
    assert "`job_1`" in batch.text
    assert "task\\-77" in batch.text
    assert "everyone" not in batch.text


async def test_the_operator_is_notified_even_if_the_server_has_no_log_channel(
    database: Database, outbox: NotificationStore
) -> None:
    await notify_failed_job(database, failed_job(FailureReason.OUTCOME_UNKNOWN))
    assert [batch.guild_id for batch in await claim(outbox)] == [TO_OPERATOR]


async def test_a_declined_job_is_not_notified_as_a_failure(database: Database, outbox: NotificationStore) -> None:
    await set_log_channel(database)
    await notify_failed_job(database, failed_job(FailureReason.DECLINED))
    await notify_failed_job(database, replace(failed_job(FailureReason.REFUSED), failure_reason=None))
    assert await claim(outbox) == []


async def test_a_rolled_back_change_is_not_notified(database: Database, outbox: NotificationStore) -> None:
    await set_log_channel(database)
    with contextlib.suppress(ZeroDivisionError):
        async with database.write() as connection:
            await notifications.post(connection, GUILD, Announcement("never happened"), NOW)
            raise ZeroDivisionError
    assert await claim(outbox) == []
