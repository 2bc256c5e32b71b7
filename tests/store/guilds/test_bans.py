from datetime import datetime, timedelta

import pytest

from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind
from bot.domain.errors import NotPossible, RuleRefused
from bot.domain.guilds import Ban
from bot.services.admin.audited import Admin
from bot.services.admin.bans import BanService
from bot.store.engine import Database
from bot.store.guilds import audit_log as audit_log_store
from bot.store.guilds import bans, guild_settings, violations
from bot.store.jobs.job_store import JobStore
from tests.fakes import TASK_LIFETIME, FakeClock
from tests.store.factories import NOW, add

HOUR = timedelta(hours=1)
ADMIN = Admin(10, 7)
OTHER_ADMIN = Admin(11, 8)


class BanHarness:
    """The ban service with a fake clock; `woken` counts how often the worker was woken."""

    def __init__(self, database: Database) -> None:
        self.clock = FakeClock()
        self.woken = 0
        self.bans = BanService(database, wake=self._wake, clock=self.clock, task_lifetime=TASK_LIFETIME)

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
def harness(database: Database) -> BanHarness:
    return BanHarness(database)


async def audit_log(database: Database, guild_id: int = 10) -> list[AuditEntry]:
    async with database.read() as connection:
        return (await audit_log_store.latest(connection, guild_id, 10))[::-1]


async def active_ban_of(database: Database, now: datetime = NOW, *, guild_id: int = 10) -> Ban | None:
    async with database.read() as connection:
        return await bans.active_ban(connection, guild_id, 1, now)


async def test_a_banned_member_cannot_order_until_the_ban_ends(harness: BanHarness, store: JobStore) -> None:
    await harness.bans.ban(ADMIN, 1, "Spam.", HOUR)

    with pytest.raises(RuleRefused) as refused:
        await add(store, NOW + HOUR - timedelta(seconds=1))
    assert refused.value.rule == "banned"
    await add(store, NOW + HOUR)
    await add(store, NOW, user_id=2)
    await add(store, NOW, guild_id=11)


async def test_a_ban_without_an_end_is_permanent(harness: BanHarness, database: Database) -> None:
    result = await harness.bans.ban(ADMIN, 1, "Spam.", None)

    assert result.ban == Ban(10, 1, "Spam.", NOW, None, actor_id=7)
    assert await active_ban_of(database, NOW + timedelta(days=9999)) == result.ban


@pytest.mark.parametrize("duration", [timedelta(0), -HOUR])
async def test_a_ban_without_a_positive_duration_is_refused(
    harness: BanHarness, database: Database, duration: timedelta
) -> None:
    with pytest.raises(NotPossible, match="BAN_TOO_SHORT"):
        await harness.bans.ban(ADMIN, 1, "Spam.", duration)

    assert await active_ban_of(database) is None


async def test_a_second_ban_replaces_the_first_and_records_both(harness: BanHarness, database: Database) -> None:
    await harness.bans.ban(ADMIN, 1, "Spam.", None)

    result = await harness.bans.ban(ADMIN, 1, "More spam.", HOUR)

    before, after = result.entry.change.before, result.entry.change.after
    assert before == {"until": None, "reason": "Spam."}
    assert after == {"until": int((NOW + HOUR).timestamp()), "reason": "More spam."}
    assert await active_ban_of(database) == result.ban


async def test_a_ban_cancels_no_jobs_and_reports_how_many_are_active(harness: BanHarness, store: JobStore) -> None:
    mine = [await add(store), await add(store)]
    await add(store, user_id=2)
    await add(store, guild_id=11)

    result = await harness.bans.ban(ADMIN, 1, "Spam.", None)

    assert result.active_jobs == 2
    assert [await store.get(job.id) for job in mine] == mine


async def test_unbanning_lets_the_member_order_again_and_resets_their_violations(
    harness: BanHarness, store: JobStore, database: Database
) -> None:
    async with database.write() as connection:
        guild = await guild_settings.get(connection, 10)
        await violations.add(connection, guild, 1, NOW)
    await harness.bans.ban(ADMIN, 1, "Spam.", None)

    entry = await harness.bans.unban(ADMIN, 1)

    assert (entry.change.before, entry.change.after) == ({"until": None, "reason": "Spam."}, None)
    await add(store)
    async with database.read() as connection:
        assert await violations.remaining(connection, guild, 1, NOW) == 3


async def test_unbanning_a_member_who_is_not_banned_is_refused(harness: BanHarness, database: Database) -> None:
    await harness.bans.ban(ADMIN, 1, "Spam.", HOUR)
    harness.clock.move(hours=1)

    for user_id in (1, 2):
        with pytest.raises(NotPossible, match="NOT_BANNED"):
            await harness.bans.unban(ADMIN, user_id)

    assert len(await audit_log(database)) == 1


async def test_every_change_is_in_the_audit_log_and_wakes_the_worker(
    harness: BanHarness, database: Database
) -> None:
    await harness.bans.ban(ADMIN, 1, "Spam.", None)
    await harness.bans.unban(ADMIN, 1)

    ban = {"until": None, "reason": "Spam."}
    assert await audit_log(database) == [
        AuditEntry(10, NOW, 7, AuditedChange(Action.MEMBER_BANNED, TargetKind.MEMBER, "1", None, ban)),
        AuditEntry(10, NOW, 7, AuditedChange(Action.MEMBER_UNBANNED, TargetKind.MEMBER, "1", ban, None)),
    ]
    assert harness.woken == 2


async def test_active_bans_are_listed_newest_first(harness: BanHarness) -> None:
    await harness.bans.ban(ADMIN, 1, "over soon", HOUR)
    harness.clock.move(minutes=1)
    await harness.bans.ban(ADMIN, 2, "permanent", None)
    assert [ban.user_id for ban in await harness.bans.active(ADMIN)] == [2, 1]

    harness.clock.move(minutes=59)
    assert [ban.user_id for ban in await harness.bans.active(ADMIN)] == [2]


async def test_an_admin_of_another_server_neither_sees_nor_changes_a_ban(
    harness: BanHarness, database: Database
) -> None:
    ban = (await harness.bans.ban(ADMIN, 1, "Spam.", None)).ban

    assert await harness.bans.active(OTHER_ADMIN) == []
    with pytest.raises(NotPossible):
        await harness.bans.unban(OTHER_ADMIN, 1)
    await harness.bans.ban(OTHER_ADMIN, 1, "theirs", HOUR)

    assert await active_ban_of(database) == ban
    assert len(await audit_log(database)) == 1
