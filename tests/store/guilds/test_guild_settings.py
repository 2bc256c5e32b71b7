"""Admins' changes, on both databases: each is one transaction, and simultaneous ones run one after another."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select

from bot.domain.audit_log import Action, AuditedChange, AuditEntry
from bot.domain.errors import RuleRefused, UserError
from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.services.admin.audited import Admin
from bot.services.admin.limits import LimitChanges
from bot.services.admin.service import AdminService
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.money_tables import credit_grants, ledger
from bot.store.schema import audit_log
from tests.fakes import TASK_LIFETIME, FakeClock
from tests.providers_asked import CATALOG
from tests.store.factories import FRAME, NOW, add, new_job, notified, requester_of

HERE, THERE = Admin(10, 7), Admin(11, 8)
MEMBER = 1
RULES = OperatorDefaults(catalog=CATALOG)


class WakeCounter:
    """Counts how often the worker is woken."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def wakes() -> WakeCounter:
    return WakeCounter()


@pytest.fixture
def admin_service(database: Database, wakes: WakeCounter) -> AdminService:
    clock = FakeClock()
    clock.now = NOW
    return AdminService(database, RULES, wake=wakes, clock=clock, task_lifetime=TASK_LIFETIME)


async def log_channel_notifications(database: Database, guild_id: int) -> list[tuple[int | None, str]]:
    """The notifications for a server's log channels: the channel and the text."""
    return [(channel_id, text) for _, channel_id, text in await notified(database, guild_id)]


async def count(database: Database, table: Any) -> int:
    async with database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


async def test_a_change_writes_an_audit_log_entry_and_a_notification(
    database: Database, admin_service: AdminService, wakes: WakeCounter
) -> None:
    await admin_service.settings.log_to(HERE, 5)
    await admin_service.settings.set_paused(HERE, paused=True)

    paused = AuditedChange(Action.PAUSED_SET, before={"paused": False}, after={"paused": True})
    assert (await admin_service.settings.audit_log(HERE, 1)) == [AuditEntry(10, NOW, 7, paused)]
    assert "⚙️ <@7> paused new videos" in [text for _, text in await log_channel_notifications(database, 10)]
    assert wakes.count == 2


async def test_a_change_without_effect_sends_no_notification(
    database: Database, admin_service: AdminService
) -> None:
    await admin_service.settings.log_to(HERE, 5)
    before = await log_channel_notifications(database, 10)

    await admin_service.settings.set_paused(HERE, paused=False)
    await admin_service.settings.log_to(HERE, 5)
    await admin_service.limits.set_server(HERE, LimitChanges(exempt_admins=False))

    assert len(await admin_service.settings.audit_log(HERE, 10)) == 1
    assert await log_channel_notifications(database, 10) == before


async def test_changes_affect_only_the_admins_own_server(admin_service: AdminService) -> None:
    before = await admin_service.settings.overview(THERE)
    await admin_service.settings.set_paused(HERE, paused=True)
    await admin_service.settings.log_to(HERE, 5)
    await admin_service.limits.set_server(HERE, LimitChanges(videos=1, usd_per_day="2"))
    await admin_service.limits.set_role(HERE, 5, LimitChanges(videos=2))
    await admin_service.limits.set_member(HERE, MEMBER, LimitChanges(videos=3))
    await admin_service.credits.grant(HERE, MEMBER, 4)

    assert await admin_service.settings.overview(THERE) == before
    assert (await admin_service.limits.all(THERE)).roles == {}
    assert (await admin_service.limits.all(THERE)).members == {}
    assert (
        await admin_service.limits.of_member(THERE, MEMBER, [5], manages=False)
    ).limits.videos_per_window.value == 5
    assert await admin_service.settings.audit_log(THERE, 10) == []
    with pytest.raises(UserError, match="NO_CREDITS"):
        await admin_service.credits.revoke(THERE, MEMBER, None)
    assert (await admin_service.settings.overview(HERE)).credits == 4


async def test_nothing_is_stored_if_part_of_a_change_is_malformed(
    database: Database, admin_service: AdminService
) -> None:
    with pytest.raises(UserError):
        await admin_service.limits.set_server(HERE, LimitChanges(videos=1, pause="soon"))
    with pytest.raises(UserError):
        await admin_service.limits.set_role(HERE, 5, LimitChanges(videos=-1))
    with pytest.raises(UserError):
        await admin_service.credits.grant(HERE, MEMBER, 3, expires="whenever")

    assert await count(database, audit_log) == 0
    assert await count(database, ledger) == 0


@pytest.mark.parametrize("number", [0, -1, 10_001])
async def test_granting_or_revoking_an_out_of_bounds_number_of_credits_is_refused(
    database: Database, admin_service: AdminService, number: int
) -> None:
    with pytest.raises(UserError, match="CREDITS_OUT_OF_BOUNDS"):
        await admin_service.credits.grant(HERE, MEMBER, number)
    with pytest.raises(UserError, match="CREDITS_OUT_OF_BOUNDS"):
        await admin_service.credits.revoke(HERE, MEMBER, number)

    assert await count(database, credit_grants) == 0


async def test_a_former_log_channel_is_notified_that_it_is_no_longer_used(
    database: Database, admin_service: AdminService
) -> None:
    await admin_service.settings.log_to(HERE, 5)
    await admin_service.settings.log_to(HERE, 6)
    await admin_service.settings.log_to(HERE, None)

    texts = [text for channel_id, text in await log_channel_notifications(database, 10) if channel_id == 5]
    assert texts == ["📜 <@7> moved the log to <#6>. I won't post it here any more."]
    texts = [text for channel_id, text in await log_channel_notifications(database, 10) if channel_id == 6]
    assert texts == ["📜 <@7> turned the log off. I won't post it here any more."]


async def test_no_job_is_accepted_once_the_pause_is_committed(
    database: Database, admin_service: AdminService
) -> None:
    store = JobStore(
        database,
        OperatorDefaults(
            catalog=CATALOG, limits=LimitOverrides(videos_per_window=1000, max_active=1000, cooldown_s=0)
        ),
    )
    paused = asyncio.Event()
    late: list[str] = []

    async def order() -> None:
        after = paused.is_set()
        new = new_job()
        try:
            await store.add(new, FRAME, requester_of(new), NOW)
        except RuleRefused:
            return
        if after:
            late.append(new.id)

    async def pause() -> None:
        await admin_service.settings.set_paused(HERE, paused=True)
        paused.set()
        await asyncio.gather(*(order() for _ in range(5)))

    await asyncio.gather(*(order() for _ in range(5)), pause(), *(order() for _ in range(5)))

    assert late == []
    with pytest.raises(RuleRefused):
        await add(store)


async def test_simultaneous_pauses_are_one_change(admin_service: AdminService) -> None:
    done = await asyncio.gather(*(admin_service.settings.set_paused(HERE, paused=True) for _ in range(10)))

    assert sum(entry.change.is_change for entry in done) == 1
    assert len(await admin_service.settings.audit_log(HERE, 100)) == 1


async def test_simultaneous_limit_changes_do_not_undo_each_other(admin_service: AdminService) -> None:
    await asyncio.gather(
        admin_service.limits.set_server(HERE, LimitChanges(videos=9)),
        admin_service.limits.set_server(HERE, LimitChanges(running=8)),
        admin_service.limits.set_server(HERE, LimitChanges(window="48h")),
        admin_service.limits.set_member(HERE, MEMBER, LimitChanges(videos=7)),
        admin_service.limits.set_member(HERE, MEMBER, LimitChanges(running=6)),
        admin_service.settings.set_paused(HERE, paused=True),
    )

    found = await admin_service.limits.all(HERE)
    assert found.settings.limits == LimitOverrides(videos_per_window=9, max_active=8)
    assert found.settings.window_hours == 48
    assert found.settings.paused
    assert found.members == {MEMBER: LimitOverrides(videos_per_window=7, max_active=6)}


async def test_simultaneous_revocations_and_orders_never_overdraw(
    database: Database, admin_service: AdminService
) -> None:
    store = JobStore(
        database,
        OperatorDefaults(
            catalog=CATALOG, limits=LimitOverrides(videos_per_window=0, max_active=100, cooldown_s=0)
        ),
    )
    await admin_service.credits.grant(HERE, MEMBER, 10)

    async def revoke() -> int:
        try:
            change = await admin_service.credits.revoke(HERE, MEMBER, 1)
        except UserError:
            return 0
        return change.before - change.after

    async def order() -> int:
        new = new_job(user_id=MEMBER)
        try:
            await store.add(new, FRAME, requester_of(new), NOW)
        except UserError:
            return 0
        return 1

    done = await asyncio.gather(*(action() for _ in range(10) for action in (revoke, order)))

    assert sum(done) == 10
    assert (await admin_service.settings.overview(HERE)).credits == 0
    async with database.read() as connection:
        credits_sum = (await connection.execute(select(func.sum(ledger.c.credits)))).scalar_one()
    assert credits_sum == 0


async def test_the_reason_for_credits_is_kept(database: Database, admin_service: AdminService) -> None:
    await admin_service.credits.grant(HERE, MEMBER, 2, reason="won")
    await admin_service.credits.revoke(HERE, MEMBER, 2, reason="cheated")
    await admin_service.credits.grant(HERE, MEMBER, 2)

    changes = [entry.change.after for entry in await admin_service.settings.audit_log(HERE, 10)]
    assert [after["reason"] for after in changes if isinstance(after, dict)] == [None, "cheated", "won"]
    async with database.read() as connection:
        reasons = (await connection.execute(select(ledger.c.reason).order_by(ledger.c.id))).scalars().all()
    assert reasons == ["won", "cheated", "granted"]
