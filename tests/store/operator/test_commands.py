"""The operator's commands, on both databases."""

import asyncio
from decimal import Decimal

import pytest
from sqlalchemy import text

from bot.chat.messages.audit_texts import phrase
from bot.domain.audit_log import Action, AuditedChange, TargetKind
from bot.domain.errors import NotPossible, QuotaRefused, RuleRefused
from bot.domain.guilds import Access, Budget, GuildSettings, OperatorState
from bot.domain.jobs import FailureCause, FailureDetail, JobState
from bot.store.guilds import guild_settings
from bot.store.guilds.membership import Description, MembershipStore
from bot.store.schema import EVERYWHERE
from tests.store.factories import MINUTE, NOW, add, add_waiting, entries, next_job, notified, read
from tests.store.operator.conftest import OPERATOR, OperatorHarness


async def test_a_budget_set_by_command_overrides_the_setting_until_it_is_reset(harness: OperatorHarness) -> None:
    await harness.service.set_budgets(OPERATOR, usd_per_day="0.30")
    await add(harness.store, NOW)
    with pytest.raises(QuotaRefused):
        await add(harness.store, NOW)

    budget, queue = await harness.service.set_budgets(OPERATOR, usd_per_day="setting")

    assert phrase(budget) == "changed the budget for all servers: $0.30 → $10.00 (default) per day"
    assert not queue.change.is_change
    await add(harness.store, NOW)


async def test_a_queue_limit_set_by_command_applies(harness: OperatorHarness) -> None:
    await harness.service.set_budgets(OPERATOR, queue_max="1")
    await add(harness.store, NOW)
    with pytest.raises(QuotaRefused):
        await add(harness.store, NOW, guild_id=20)


async def test_a_budget_for_one_server_applies_to_that_server_only(harness: OperatorHarness) -> None:
    await harness.service.set_budgets(OPERATOR, 10, usd_per_day="0.10")

    with pytest.raises(QuotaRefused):
        await add(harness.store, NOW, guild_id=10)
    await add(harness.store, NOW, guild_id=20)
    assert (await harness.service.server(10)).guild.budget == Budget(Decimal("0.1"), None)


async def test_the_operators_budget_does_not_change_the_admins_own_budget(harness: OperatorHarness) -> None:
    async with harness.database.write() as connection:
        own = GuildSettings(budget=Budget(Decimal(2), Decimal(3)), paused=True)
        await guild_settings.write(connection, 10, guild_settings.settings_columns(own))

    await harness.service.set_budgets(OPERATOR, 10, usd_per_day="7", usd_per_month="8")
    await harness.service.set_access(OPERATOR, 10, Access.ALLOWED)

    guild = (await harness.service.server(10)).guild
    assert guild.settings == own
    assert (guild.budget, guild.access) == (Budget(Decimal(7), Decimal(8)), Access.ALLOWED)


async def test_a_change_with_one_malformed_value_changes_nothing(harness: OperatorHarness) -> None:
    with pytest.raises(NotPossible):
        await harness.service.set_budgets(OPERATOR, usd_per_day="1", usd_per_month="a lot")

    assert (await harness.service.overview()).state.budget == Budget()
    assert await harness.service.audit_log() == []


async def test_a_change_for_a_server_is_in_its_audit_log_without_the_operators_name(
    harness: OperatorHarness,
) -> None:
    async with harness.database.write() as connection:
        await guild_settings.write(
            connection, 10, guild_settings.settings_columns(GuildSettings(log_channel_id=77))
        )

    await harness.service.set_access(OPERATOR, 10, Access.BLOCKED)

    [theirs], [ours] = await harness.audit_log(10), await harness.audit_log(EVERYWHERE)
    change = AuditedChange(Action.ACCESS_SET, TargetKind.SERVER, "10", {"access": "open"}, {"access": "blocked"})
    assert (theirs.actor_id, theirs.change) == (None, change)
    assert (ours.actor_id, ours.change) == (900, change)
    assert not any("900" in text for text in await harness.notification_texts(10))
    assert len(await harness.notification_texts(10)) == 1
    assert "<@900>" in (await harness.notification_texts(EVERYWHERE))[-1]


async def test_setting_the_current_value_is_not_a_change(harness: OperatorHarness) -> None:
    await harness.service.set_access(OPERATOR, 10, Access.OPEN)
    await harness.service.drain(OPERATOR, on=False)

    assert await harness.service.audit_log() == []
    assert await harness.notification_texts(EVERYWHERE) == []


async def test_blocking_a_server_cancels_only_its_waiting_jobs(harness: OperatorHarness) -> None:
    running = await harness.add_running_job(guild_id=10)
    waiting = await add(harness.store, NOW, guild_id=10)
    elsewhere = await add(harness.store, NOW, guild_id=20)

    entry, cancelled = await harness.service.set_access(OPERATOR, 10, Access.BLOCKED)

    assert (entry.change.after, cancelled) == ({"access": "blocked"}, 1)
    assert (await read(harness.store, waiting)).state is JobState.CANCELLED
    assert (await read(harness.store, running)).state is JobState.RUNNING
    assert (await read(harness.store, elsewhere)).state is JobState.QUEUED
    assert harness.woken
    with pytest.raises(RuleRefused):
        await add(harness.store, NOW, guild_id=10)


async def test_a_job_cancelled_by_blocking_stores_its_cause_and_the_operator_as_the_ledger_actor(
    harness: OperatorHarness,
) -> None:
    waiting = await add(harness.store, NOW, guild_id=10)

    await harness.service.set_access(OPERATOR, 10, Access.BLOCKED)

    detail = (await read(harness.store, waiting)).failure_detail
    assert detail == FailureDetail(FailureCause.SERVER_BLOCKED)
    assert [row.actor_id for row in await entries(harness.store, waiting)] == [1, OPERATOR.user_id]


async def test_blocking_again_cancels_jobs_that_an_interrupted_block_left(harness: OperatorHarness) -> None:
    waiting = await add(harness.store, NOW, guild_id=10)
    async with harness.database.write() as connection:  # all that the process did before it died
        await guild_settings.write(connection, 10, {"access": Access.BLOCKED})

    _, cancelled = await harness.service.set_access(OPERATOR, 10, Access.BLOCKED)

    assert cancelled == 1
    assert (await read(harness.store, waiting)).charged is False


async def test_while_draining_orders_are_refused_and_waiting_jobs_continue(harness: OperatorHarness) -> None:
    waiting = await add_waiting(harness.store, NOW)
    await harness.service.drain(OPERATOR, on=True)

    with pytest.raises(RuleRefused):
        await add(harness.store, NOW)
    job = await next_job(harness.store, NOW)
    assert job is not None
    assert job.id == waiting.id
    report = await harness.service.overview()
    assert (report.state.draining, report.left, report.waiting) == (True, 1, 0)


async def test_no_order_is_accepted_once_draining_is_committed(harness: OperatorHarness) -> None:
    """Every accepted order was accepted before the change was committed."""

    async def order() -> bool:
        try:
            await add(harness.store, NOW)
        except RuleRefused:
            return False
        return True

    *orders, _ = await asyncio.gather(*(order() for _ in range(10)), harness.service.drain(OPERATOR, on=True))

    assert (await harness.service.overview()).left == sum(bool(accepted) for accepted in orders)
    assert not await order()


async def test_simultaneous_changes_do_not_undo_each_other(harness: OperatorHarness) -> None:
    for round_ in range(1, 6):
        await asyncio.gather(
            harness.service.set_budgets(OPERATOR, usd_per_day=f"{round_}"),
            harness.service.set_budgets(OPERATOR, usd_per_month=f"{10 * round_}"),
            harness.service.set_budgets(OPERATOR, queue_max=f"{round_}"),
            harness.service.drain(OPERATOR, on=round_ % 2 == 1),
        )

        state = (await harness.service.overview()).state
        assert state == OperatorState(round_ % 2 == 1, Budget(Decimal(round_), Decimal(10 * round_)), round_)


async def test_an_announcement_prefers_the_log_channel_and_is_sent_once(harness: OperatorHarness) -> None:
    async with harness.database.write() as connection:
        await guild_settings.write(
            connection, 10, guild_settings.settings_columns(GuildSettings(log_channel_id=77))
        )
    membership = MembershipStore(harness.database)
    channels = {10: 11, 20: 21, 30: None, 40: 41}
    await membership.describe({id_: Description(f"Server {id_}", to) for id_, to in channels.items()})
    await membership.left(40, NOW)

    assert (await harness.service.announcement_reach()).unreached == (30,)
    await harness.service.announce(OPERATOR, "**hello**", key="message-1")
    result = await harness.service.announce(OPERATOR, "**hello**", key="message-1")

    assert (result.reached, result.unreached) == (2, (30,))
    found = await notified(harness.database)
    assert sorted(it for it in found if it[2] == "**hello**") == [(10, 77, "**hello**"), (20, 21, "**hello**")]


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_a_change_that_waited_for_a_lock_has_the_time_at_which_it_took_effect(
    harness: OperatorHarness,
) -> None:
    """Otherwise an earlier change would be listed after it in the audit log."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with harness.database.write() as earlier:
        await guild_settings.lock_operator_state(earlier)
        draining = asyncio.create_task(harness.service.drain(OPERATOR, on=True))
        while not await earlier.scalar(waiting):
            await asyncio.sleep(0.01)
        harness.now += MINUTE

    assert (await draining).created_at == NOW + MINUTE
