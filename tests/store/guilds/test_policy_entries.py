import asyncio
from typing import Any

import pytest

from bot.chat.messages.audit_texts import phrase
from bot.domain.audit_log import Action, AuditedChange, TargetKind
from bot.domain.blocked_terms import PATTERNS_MAX, TERMS_MAX
from bot.domain.errors import NotPossible, RuleRefused, UserError
from bot.domain.guilds import BlockedTerm, GuildSettings, PolicyEntry, PolicyEntryKind
from bot.domain.jobs import JobState, Order, Resolution
from bot.domain.policy import Requester
from bot.services.admin.audited import Admin
from bot.services.admin.policy import POLICY_ENTRIES_MAX, PolicyService
from bot.store.engine import Database
from bot.store.guilds import audit_log as audit_log_store
from bot.store.guilds import guild_settings, policy_entries
from bot.store.jobs.job_store import JobStore
from tests.fakes import FakeClock
from tests.store.factories import FRAME, NOW, new_job, notified_texts

ADMIN = Admin(10, 7)
STRANGER = Admin(11, 8)
CHANNEL, ROLE = PolicyEntryKind.CHANNEL, PolicyEntryKind.ROLE


def nothing() -> None:
    """What wakes no worker."""


@pytest.fixture
def rules(database: Database) -> PolicyService:
    return PolicyService(database, wake=nothing, clock=FakeClock())


async def settings(database: Database, guild_id: int = 10) -> GuildSettings:
    async with database.read() as connection:
        return (await guild_settings.get(connection, guild_id)).settings


async def audit_log(database: Database, guild_id: int = 10) -> list[AuditedChange]:
    async with database.read() as connection:
        return [entry.change for entry in (await audit_log_store.latest(connection, guild_id, 10))[::-1]]


async def told(database: Database) -> list[str]:
    return await notified_texts(database)


async def order(store: JobStore, prompt: str = "a fox", *, guild_id: int = 10, **more: Any) -> str:
    """The state of the job that an order becomes."""
    resolution = more.pop("resolution", Resolution.P720)
    new = new_job(order=Order(prompt, resolution=resolution), guild_id=guild_id)
    return (await store.add(new, FRAME, Requester(guild_id, 100, 1, **more), NOW)).state


async def refused(store: JobStore, prompt: str = "a fox", **more: Any) -> str:
    """The rule that refuses an order."""
    with pytest.raises(RuleRefused) as refusal:
        await order(store, prompt, **more)
    return refusal.value.rule


async def with_log_channel(database: Database, guild_id: int = 10) -> None:
    async with database.write() as connection:
        await guild_settings.write(connection, guild_id, {"log_channel_id": 100})


async def test_a_denied_channel_is_out_until_it_is_forgotten(rules: PolicyService, store: JobStore) -> None:
    await rules.set_entry(ADMIN, PolicyEntry(CHANNEL, 100, allowed=False))
    assert await refused(store) == "channel"

    entry = await rules.remove_entry(ADMIN, CHANNEL, 100)

    assert entry.change == AuditedChange(Action.POLICY_SET, TargetKind.CHANNEL, "100", {"allowed": False}, None)
    await order(store)


async def test_as_soon_as_one_role_is_allowed_all_others_are_out(rules: PolicyService, store: JobStore) -> None:
    await rules.set_entry(ADMIN, PolicyEntry(ROLE, 200, allowed=True))

    assert await refused(store) == "role"
    await order(store, roles=frozenset({200}))


async def test_a_place_that_is_set_again_is_changed(rules: PolicyService) -> None:
    await rules.set_entry(ADMIN, PolicyEntry(ROLE, 200, allowed=True))

    entry = await rules.set_entry(ADMIN, PolicyEntry(ROLE, 200, allowed=False))

    assert entry.change == AuditedChange(
        Action.POLICY_SET, TargetKind.ROLE, "200", {"allowed": True}, {"allowed": False}
    )
    assert await rules.entries(ADMIN, ROLE) == [PolicyEntry(ROLE, 200, allowed=False)]
    assert await rules.entries(ADMIN, CHANNEL) == []


async def test_a_place_that_nothing_is_said_of_is_not_forgotten(rules: PolicyService, database: Database) -> None:
    await rules.set_entry(ADMIN, PolicyEntry(ROLE, 200, allowed=True))

    for kind, target in ((CHANNEL, 200), (ROLE, 201)):
        with pytest.raises(NotPossible, match="POLICY_ENTRY_NOT_SET"):
            await rules.remove_entry(ADMIN, kind, target)

    assert len(await audit_log(database)) == 1


async def test_everyone_is_no_role(rules: PolicyService) -> None:
    with pytest.raises(NotPossible, match="EVERYONE"):
        await rules.set_entry(ADMIN, PolicyEntry(ROLE, ADMIN.guild_id, allowed=True))


async def test_only_so_many_channels_and_as_many_roles_can_be_set(rules: PolicyService) -> None:
    for target in range(POLICY_ENTRIES_MAX):
        await rules.set_entry(ADMIN, PolicyEntry(CHANNEL, target, allowed=True))

    with pytest.raises(NotPossible, match=r"TOO_MANY_POLICY_ENTRIES.*CHANNEL"):
        await rules.set_entry(ADMIN, PolicyEntry(CHANNEL, 999, allowed=True))

    await rules.set_entry(ADMIN, PolicyEntry(CHANNEL, 0, allowed=False))
    await rules.set_entry(ADMIN, PolicyEntry(ROLE, 999, allowed=True))
    assert len(await rules.entries(ADMIN, CHANNEL)) == POLICY_ENTRIES_MAX


async def test_blocked_words_refuse_until_they_are_removed(rules: PolicyService, store: JobStore) -> None:
    result = await rules.block_terms(ADMIN, "Gore, blood bath")
    assert [await refused(store, prompt) for prompt in ("a gore", "Blood-Bath!")] == ["words", "words"]
    assert phrase(result.entry) == "blocked in prompts: Gore, blood bath"

    entry = await rules.unblock_term(ADMIN, "gore")

    removed = {"text": "Gore", "is_pattern": False}
    assert (entry.change.before, entry.change.after) == ({"count": 2}, {"count": 1, "removed": removed})
    await order(store, "a gore")
    assert await refused(store, "blood bath") == "words"


async def test_words_that_are_blocked_already_are_named_and_not_added_twice(rules: PolicyService) -> None:
    await rules.block_terms(ADMIN, "Café")

    result = await rules.block_terms(ADMIN, "CAFE, gore, ｇｏｒｅ")

    assert phrase(result.entry) == "blocked in prompts: gore"
    assert [word.text for word in result.known] == ["CAFE", "ｇｏｒｅ"]
    assert await rules.terms(ADMIN) == (BlockedTerm("Café"), BlockedTerm("gore"))


async def test_nothing_new_is_no_change(rules: PolicyService, database: Database) -> None:
    await rules.block_terms(ADMIN, "gore")

    result = await rules.block_terms(ADMIN, "Gore")

    assert result.entry.change.before == result.entry.change.after == {"count": 1}
    assert len(await audit_log(database)) == 1


async def test_a_pattern_is_one_though_it_holds_commas(rules: PolicyService, store: JobStore) -> None:
    await rules.block_terms(ADMIN, r"x{2,3}y", pattern=True)

    assert await rules.terms(ADMIN) == (BlockedTerm(r"x{2,3}y", is_pattern=True),)
    assert await refused(store, "XXy") == "words"


async def test_a_word_may_become_a_pattern(rules: PolicyService) -> None:
    await rules.block_terms(ADMIN, "gore")

    result = await rules.block_terms(ADMIN, "gore", pattern=True)

    assert phrase(result.entry) == "blocked in prompts: pattern gore"
    assert await rules.terms(ADMIN) == (BlockedTerm("gore", is_pattern=True),)


@pytest.mark.parametrize("typed", ["", " , ", "gore, c++", "gore, " + "x" * 101])
async def test_all_words_are_added_or_none(rules: PolicyService, typed: str) -> None:
    with pytest.raises(UserError):
        await rules.block_terms(ADMIN, typed)

    assert await rules.terms(ADMIN) == ()


async def test_a_server_blocks_so_many_words_and_no_more(rules: PolicyService) -> None:
    await rules.block_terms(ADMIN, ",".join(f"word{number}" for number in range(TERMS_MAX - 1)))

    with pytest.raises(NotPossible, match="TOO_MANY_TERMS"):
        await rules.block_terms(ADMIN, "one, more")

    assert len(await rules.terms(ADMIN)) == TERMS_MAX - 1
    await rules.block_terms(ADMIN, "one")


async def test_and_fewer_patterns(rules: PolicyService) -> None:
    for number in range(PATTERNS_MAX):
        await rules.block_terms(ADMIN, f"x{number}", pattern=True)

    with pytest.raises(NotPossible, match="TOO_MANY_PATTERNS"):
        await rules.block_terms(ADMIN, "one", pattern=True)

    await rules.block_terms(ADMIN, "one")


async def test_patterns_that_take_too_long_together_are_refused_and_words_are_not(rules: PolicyService) -> None:
    slow = r"(?:\w+\s?){{90}}!{}"
    await rules.block_terms(ADMIN, slow.format(1), pattern=True)
    await rules.block_terms(ADMIN, slow.format(2), pattern=True)

    with pytest.raises(NotPossible, match="PATTERNS_TOO_SLOW"):
        await rules.block_terms(ADMIN, slow.format(3), pattern=True)

    assert len(await rules.terms(ADMIN)) == 2
    await rules.block_terms(ADMIN, "x+y", pattern=True)
    await rules.block_terms(ADMIN, "gore")


async def test_words_are_added_beside_patterns_that_were_let_in_when_more_could_be(
    rules: PolicyService, database: Database
) -> None:
    slow = [BlockedTerm(rf"(?:\w+\s?){{90}}!{number}", is_pattern=True) for number in range(3)]
    async with database.write() as connection:
        await policy_entries.add_terms(connection, ADMIN.guild_id, slow)

    await rules.block_terms(ADMIN, "gore")

    assert len(await rules.terms(ADMIN)) == 4


async def test_removing_what_is_not_blocked_is_refused(rules: PolicyService) -> None:
    await rules.block_terms(ADMIN, "gore")

    with pytest.raises(NotPossible, match="TERM_NOT_BLOCKED"):
        await rules.unblock_term(ADMIN, "gor")


async def test_admins_who_add_words_together_lose_none(rules: PolicyService) -> None:
    await asyncio.gather(*(rules.block_terms(ADMIN, f"word{number}") for number in range(8)))

    assert len(await rules.terms(ADMIN)) == 8


async def test_resolutions_that_are_not_allowed_are_refused(rules: PolicyService, store: JobStore) -> None:
    entry = await rules.set_resolutions(ADMIN, frozenset({Resolution.P480}))

    assert entry.change.before == {"resolutions": ["480P", "720P"]}
    assert entry.change.after == {"resolutions": ["480P"]}
    assert await refused(store) == "resolution"
    await order(store, resolution=Resolution.P480)


async def test_one_resolution_stays_allowed(rules: PolicyService, database: Database) -> None:
    with pytest.raises(NotPossible, match="NO_RESOLUTION_LEFT"):
        await rules.set_resolutions(ADMIN, frozenset())

    assert (await settings(database)).allowed_resolutions == frozenset(Resolution)


async def test_age_restricted_channels_only(rules: PolicyService, store: JobStore) -> None:
    entry = await rules.set_age_restricted_only(ADMIN, only=True)

    assert (entry.change.before, entry.change.after) == ({"only": False}, {"only": True})
    assert await refused(store) == "age_restricted"
    await order(store, age_restricted=True)


async def test_approval_needs_a_log_channel(rules: PolicyService, database: Database) -> None:
    with pytest.raises(NotPossible, match="NO_LOG_CHANNEL"):
        await rules.set_approval(ADMIN, needed=True)

    assert not (await settings(database)).approval_required
    assert not (await rules.set_approval(ADMIN, needed=False)).change.is_change


async def test_with_approval_a_job_waits(rules: PolicyService, store: JobStore, database: Database) -> None:
    await with_log_channel(database)

    entry = await rules.set_approval(ADMIN, needed=True)

    assert (entry.change.before, entry.change.after) == ({"needed": False}, {"needed": True})
    assert await order(store) == JobState.AWAITING


async def test_strikes_are_set_each_by_itself(rules: PolicyService, database: Database) -> None:
    wanted = ((5, None), (None, 1), (0, None), (None, None))
    done = [(await rules.set_violation_limit(ADMIN, *it)).change for it in wanted]

    assert done[0].before == {"strikes": 3, "pause_hours": 24}
    assert [it.after for it in done] == [
        {"strikes": 5, "pause_hours": 24},
        {"strikes": 5, "pause_hours": 1},
        {"strikes": 0, "pause_hours": 1},
        {"strikes": 0, "pause_hours": 1},
    ]
    assert [it.is_change for it in done] == [True, True, True, False]
    assert (await settings(database)).violation_pause_hours == 1


@pytest.mark.parametrize(("limit", "hours"), [(-1, None), (21, None), (None, 0), (None, 721)])
async def test_violation_limits_out_of_bounds_are_refused(
    rules: PolicyService, limit: int | None, hours: int | None
) -> None:
    with pytest.raises(NotPossible, match="OUT_OF_BOUNDS"):
        await rules.set_violation_limit(ADMIN, limit, hours)


async def test_every_change_is_in_the_audit_trail_and_told(rules: PolicyService, database: Database) -> None:
    await with_log_channel(database)
    await rules.set_entry(ADMIN, PolicyEntry(CHANNEL, 100, allowed=True))
    await rules.set_entry(ADMIN, PolicyEntry(CHANNEL, 100, allowed=True))
    await rules.block_terms(ADMIN, "x *gore* x")

    added = {"count": 1, "added": [{"text": "x *gore* x", "is_pattern": False}]}
    assert await audit_log(database) == [
        AuditedChange(Action.POLICY_SET, TargetKind.CHANNEL, "100", None, {"allowed": True}),
        AuditedChange(Action.TERMS_BLOCKED, before={"count": 0}, after=added),
    ]
    first, second = sorted(await told(database), key=lambda text: "gore" in text)
    assert "<@7>" in first
    assert "<#100>" in first
    assert r"x \*gore\* x" in second


async def test_another_servers_admin_sees_and_changes_nothing_of_this_one(
    rules: PolicyService, store: JobStore, database: Database
) -> None:
    await with_log_channel(database, 11)
    await rules.set_entry(ADMIN, PolicyEntry(CHANNEL, 500, allowed=False))
    await rules.block_terms(ADMIN, "gore")
    before = await audit_log(database)

    assert await rules.entries(STRANGER, CHANNEL) == []
    assert await rules.terms(STRANGER) == ()
    assert (await rules.terms_and_settings(STRANGER))[0] == ()
    with pytest.raises(NotPossible):
        await rules.remove_entry(STRANGER, CHANNEL, 500)
    with pytest.raises(NotPossible):
        await rules.unblock_term(STRANGER, "gore")
    await rules.set_entry(STRANGER, PolicyEntry(CHANNEL, 500, allowed=True))
    await rules.block_terms(STRANGER, "fox")
    await rules.set_resolutions(STRANGER, frozenset({Resolution.P480}))
    await rules.set_age_restricted_only(STRANGER, only=True)
    await rules.set_approval(STRANGER, needed=True)
    await rules.set_violation_limit(STRANGER, 1, 1)

    assert await audit_log(database) == before
    assert await settings(database) == GuildSettings()
    assert await rules.terms(ADMIN) == (BlockedTerm("gore"),)
    assert await rules.entries(ADMIN, CHANNEL) == [PolicyEntry(CHANNEL, 500, allowed=False)]
    assert await order(store) == JobState.QUEUED


async def test_what_two_servers_both_set_is_taken_away_in_one_alone(rules: PolicyService) -> None:
    for who in (ADMIN, STRANGER):
        await rules.set_entry(who, PolicyEntry(CHANNEL, 500, allowed=False))
        await rules.set_entry(who, PolicyEntry(ROLE, 500, allowed=False))
        await rules.block_terms(who, "gore")

    await rules.unblock_term(STRANGER, "gore")
    await rules.remove_entry(STRANGER, CHANNEL, 500)

    assert await rules.terms(ADMIN) == (BlockedTerm("gore"),)
    assert await rules.entries(ADMIN, CHANNEL) == [PolicyEntry(CHANNEL, 500, allowed=False)]
    assert await rules.entries(STRANGER, ROLE) == [PolicyEntry(ROLE, 500, allowed=False)]
