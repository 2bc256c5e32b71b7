import asyncio
from typing import Any

import pytest

from bot.chat.messages.audit_texts import phrase
from bot.domain.audit_log import Action, AuditedChange, TargetKind
from bot.domain.errors import NotPossible, RuleRefused, UserError
from bot.domain.guilds import BlockedTerm, GuildSettings, PolicyEntry, PolicyEntryKind
from bot.domain.jobs import JobState, Order, Resolution
from bot.domain.policy import Requester
from bot.domain.terms import PATTERNS_MAX, TERMS_MAX
from bot.services.admin.audited import Admin
from bot.services.admin.policy import POLICY_ENTRIES_MAX, PolicyService
from bot.store.engine import Database
from bot.store.guilds import audit_log as audit_log_store
from bot.store.guilds import guild_settings, policy_entries
from bot.store.jobs.job_store import JobStore
from tests.fakes import TASK_LIFETIME, FakeClock
from tests.store.factories import FRAME, NOW, new_job, notified_texts

ADMIN = Admin(10, 7)
OTHER_ADMIN = Admin(11, 8)
CHANNEL, ROLE = PolicyEntryKind.CHANNEL, PolicyEntryKind.ROLE


def ignore_wake() -> None:
    """Wakes no worker."""


@pytest.fixture
def policy(database: Database) -> PolicyService:
    return PolicyService(database, wake=ignore_wake, clock=FakeClock(), task_lifetime=TASK_LIFETIME)


async def settings(database: Database, guild_id: int = 10) -> GuildSettings:
    async with database.read() as connection:
        return (await guild_settings.get(connection, guild_id)).settings


async def audit_log(database: Database, guild_id: int = 10) -> list[AuditedChange]:
    async with database.read() as connection:
        return [entry.change for entry in (await audit_log_store.latest(connection, guild_id, 10))[::-1]]


async def order(store: JobStore, prompt: str = "a fox", *, guild_id: int = 10, **more: Any) -> str:
    """The state of the job that an order becomes."""
    resolution = more.pop("resolution", Resolution.P720)
    new = new_job(order=Order(prompt, resolution=resolution), guild_id=guild_id)
    return (await store.add(new, FRAME, Requester(guild_id, 100, 1, **more), NOW)).state


async def refusing_rule(store: JobStore, prompt: str = "a fox", **more: Any) -> str:
    """The rule that refuses an order."""
    with pytest.raises(RuleRefused) as refusal:
        await order(store, prompt, **more)
    return refusal.value.rule


async def set_log_channel(database: Database, guild_id: int = 10) -> None:
    async with database.write() as connection:
        await guild_settings.write(connection, guild_id, {"log_channel_id": 100})


async def test_orders_in_a_denied_channel_are_refused_until_its_entry_is_removed(
    policy: PolicyService, store: JobStore
) -> None:
    await policy.set_entry(ADMIN, PolicyEntry(CHANNEL, 100, allowed=False))
    assert await refusing_rule(store) == "channel"

    entry = await policy.remove_entry(ADMIN, CHANNEL, 100)

    assert entry.change == AuditedChange(Action.POLICY_SET, TargetKind.CHANNEL, "100", {"allowed": False}, None)
    await order(store)


async def test_allowing_one_role_refuses_members_without_it(policy: PolicyService, store: JobStore) -> None:
    await policy.set_entry(ADMIN, PolicyEntry(ROLE, 200, allowed=True))

    assert await refusing_rule(store) == "role"
    await order(store, roles=frozenset({200}))


async def test_setting_an_entry_again_replaces_it(policy: PolicyService) -> None:
    await policy.set_entry(ADMIN, PolicyEntry(ROLE, 200, allowed=True))

    entry = await policy.set_entry(ADMIN, PolicyEntry(ROLE, 200, allowed=False))

    assert entry.change == AuditedChange(
        Action.POLICY_SET, TargetKind.ROLE, "200", {"allowed": True}, {"allowed": False}
    )
    assert await policy.entries(ADMIN, ROLE) == [PolicyEntry(ROLE, 200, allowed=False)]
    assert await policy.entries(ADMIN, CHANNEL) == []


async def test_removing_a_missing_entry_is_refused(policy: PolicyService, database: Database) -> None:
    await policy.set_entry(ADMIN, PolicyEntry(ROLE, 200, allowed=True))

    for kind, target in ((CHANNEL, 200), (ROLE, 201)):
        with pytest.raises(NotPossible, match="POLICY_ENTRY_NOT_SET"):
            await policy.remove_entry(ADMIN, kind, target)

    assert len(await audit_log(database)) == 1


async def test_the_everyone_role_cannot_be_set(policy: PolicyService) -> None:
    with pytest.raises(NotPossible, match="EVERYONE"):
        await policy.set_entry(ADMIN, PolicyEntry(ROLE, ADMIN.guild_id, allowed=True))


async def test_the_numbers_of_channels_and_of_roles_are_limited(policy: PolicyService) -> None:
    for target in range(POLICY_ENTRIES_MAX):
        await policy.set_entry(ADMIN, PolicyEntry(CHANNEL, target, allowed=True))

    with pytest.raises(NotPossible, match=r"TOO_MANY_POLICY_ENTRIES.*CHANNEL"):
        await policy.set_entry(ADMIN, PolicyEntry(CHANNEL, 999, allowed=True))

    await policy.set_entry(ADMIN, PolicyEntry(CHANNEL, 0, allowed=False))
    await policy.set_entry(ADMIN, PolicyEntry(ROLE, 999, allowed=True))
    assert len(await policy.entries(ADMIN, CHANNEL)) == POLICY_ENTRIES_MAX


async def test_prompts_with_blocked_terms_are_refused_until_the_terms_are_unblocked(
    policy: PolicyService, store: JobStore
) -> None:
    result = await policy.block_terms(ADMIN, "Gore, blood bath")
    assert [await refusing_rule(store, prompt) for prompt in ("a gore", "Blood-Bath!")] == ["words", "words"]
    assert phrase(result.entry) == "blocked in prompts: Gore, blood bath"

    entry = await policy.unblock_term(ADMIN, "gore")

    removed = {"text": "Gore", "is_pattern": False}
    assert (entry.change.before, entry.change.after) == ({"count": 2}, {"count": 1, "removed": removed})
    await order(store, "a gore")
    assert await refusing_rule(store, "blood bath") == "words"


async def test_terms_already_blocked_are_reported_and_not_added_again(policy: PolicyService) -> None:
    await policy.block_terms(ADMIN, "Café")

    result = await policy.block_terms(ADMIN, "CAFE, gore, ｇｏｒｅ")

    assert phrase(result.entry) == "blocked in prompts: gore"
    assert [word.text for word in result.known] == ["CAFE", "ｇｏｒｅ"]
    assert await policy.terms(ADMIN) == (BlockedTerm("Café"), BlockedTerm("gore"))


async def test_blocking_only_terms_already_blocked_is_not_a_change(
    policy: PolicyService, database: Database
) -> None:
    await policy.block_terms(ADMIN, "gore")

    result = await policy.block_terms(ADMIN, "Gore")

    assert result.entry.change.before == result.entry.change.after == {"count": 1}
    assert len(await audit_log(database)) == 1


async def test_a_pattern_with_commas_is_one_term(policy: PolicyService, store: JobStore) -> None:
    await policy.block_terms(ADMIN, r"x{2,3}y", pattern=True)

    assert await policy.terms(ADMIN) == (BlockedTerm(r"x{2,3}y", is_pattern=True),)
    assert await refusing_rule(store, "XXy") == "words"


async def test_a_blocked_word_can_be_changed_to_a_pattern(policy: PolicyService) -> None:
    await policy.block_terms(ADMIN, "gore")

    result = await policy.block_terms(ADMIN, "gore", pattern=True)

    assert phrase(result.entry) == "blocked in prompts: pattern gore"
    assert await policy.terms(ADMIN) == (BlockedTerm("gore", is_pattern=True),)


@pytest.mark.parametrize("typed", ["", " , ", "gore, c++", "gore, " + "x" * 101])
async def test_no_term_is_blocked_if_one_is_invalid(policy: PolicyService, typed: str) -> None:
    with pytest.raises(UserError):
        await policy.block_terms(ADMIN, typed)

    assert await policy.terms(ADMIN) == ()


async def test_the_number_of_blocked_terms_is_limited(policy: PolicyService) -> None:
    await policy.block_terms(ADMIN, ",".join(f"word{number}" for number in range(TERMS_MAX - 1)))

    with pytest.raises(NotPossible, match="TOO_MANY_TERMS"):
        await policy.block_terms(ADMIN, "one, more")

    assert len(await policy.terms(ADMIN)) == TERMS_MAX - 1
    await policy.block_terms(ADMIN, "one")


async def test_the_number_of_blocked_patterns_is_limited(policy: PolicyService) -> None:
    for number in range(PATTERNS_MAX):
        await policy.block_terms(ADMIN, f"x{number}", pattern=True)

    with pytest.raises(NotPossible, match="TOO_MANY_PATTERNS"):
        await policy.block_terms(ADMIN, "one", pattern=True)

    await policy.block_terms(ADMIN, "one")


async def test_patterns_that_are_too_slow_together_are_refused_but_words_are_not(policy: PolicyService) -> None:
    slow = r"(?:\w+\s?){{90}}!{}"
    await policy.block_terms(ADMIN, slow.format(1), pattern=True)
    await policy.block_terms(ADMIN, slow.format(2), pattern=True)

    with pytest.raises(NotPossible, match="PATTERNS_TOO_SLOW"):
        await policy.block_terms(ADMIN, slow.format(3), pattern=True)

    assert len(await policy.terms(ADMIN)) == 2
    await policy.block_terms(ADMIN, "x+y", pattern=True)
    await policy.block_terms(ADMIN, "gore")


async def test_words_can_be_blocked_even_if_stored_patterns_exceed_the_time_limit(
    policy: PolicyService, database: Database
) -> None:
    slow = [BlockedTerm(rf"(?:\w+\s?){{90}}!{number}", is_pattern=True) for number in range(3)]
    async with database.write() as connection:
        await policy_entries.add_terms(connection, ADMIN.guild_id, slow)

    await policy.block_terms(ADMIN, "gore")

    assert len(await policy.terms(ADMIN)) == 4


async def test_unblocking_a_term_that_is_not_blocked_is_refused(policy: PolicyService) -> None:
    await policy.block_terms(ADMIN, "gore")

    with pytest.raises(NotPossible, match="TERM_NOT_BLOCKED"):
        await policy.unblock_term(ADMIN, "gor")


async def test_terms_that_are_blocked_simultaneously_are_all_kept(policy: PolicyService) -> None:
    await asyncio.gather(*(policy.block_terms(ADMIN, f"word{number}") for number in range(8)))

    assert len(await policy.terms(ADMIN)) == 8


async def test_resolutions_that_are_not_allowed_are_refused(policy: PolicyService, store: JobStore) -> None:
    entry = await policy.set_resolutions(ADMIN, frozenset({Resolution.P480}))

    assert entry.change.before == {"resolutions": ["480P", "720P"]}
    assert entry.change.after == {"resolutions": ["480P"]}
    assert await refusing_rule(store) == "resolution"
    await order(store, resolution=Resolution.P480)


async def test_at_least_one_resolution_must_stay_allowed(policy: PolicyService, database: Database) -> None:
    with pytest.raises(NotPossible, match="NO_RESOLUTION_LEFT"):
        await policy.set_resolutions(ADMIN, frozenset())

    assert (await settings(database)).allowed_resolutions == {Resolution.P480, Resolution.P720}


async def test_orders_can_be_restricted_to_age_restricted_channels(policy: PolicyService, store: JobStore) -> None:
    entry = await policy.set_age_restricted_only(ADMIN, only=True)

    assert (entry.change.before, entry.change.after) == ({"only": False}, {"only": True})
    assert await refusing_rule(store) == "age_restricted"
    await order(store, age_restricted=True)


async def test_requiring_approval_needs_a_log_channel(policy: PolicyService, database: Database) -> None:
    with pytest.raises(NotPossible, match="NO_LOG_CHANNEL"):
        await policy.set_approval(ADMIN, needed=True)

    assert not (await settings(database)).approval_required
    assert not (await policy.set_approval(ADMIN, needed=False)).change.is_change


async def test_a_job_awaits_approval_if_approval_is_required(
    policy: PolicyService, store: JobStore, database: Database
) -> None:
    await set_log_channel(database)

    entry = await policy.set_approval(ADMIN, needed=True)

    assert (entry.change.before, entry.change.after) == ({"needed": False}, {"needed": True})
    assert await order(store) == JobState.AWAITING


async def test_the_violation_limit_and_pause_are_set_independently(
    policy: PolicyService, database: Database
) -> None:
    wanted = ((5, None, None), (None, 1, None), (None, None, True), (0, None, None), (None, None, None))
    done = [
        (await policy.set_violation_limit(ADMIN, limit, hours, refused_content=counts)).change
        for limit, hours, counts in wanted
    ]

    assert done[0].before == {"strikes": 3, "pause_hours": 24, "refused_content": False}
    assert [it.after for it in done] == [
        {"strikes": 5, "pause_hours": 24, "refused_content": False},
        {"strikes": 5, "pause_hours": 1, "refused_content": False},
        {"strikes": 5, "pause_hours": 1, "refused_content": True},
        {"strikes": 0, "pause_hours": 1, "refused_content": True},
        {"strikes": 0, "pause_hours": 1, "refused_content": True},
    ]
    assert [it.is_change for it in done] == [True, True, True, True, False]
    assert (await settings(database)).refused_content_counts
    assert (await settings(database)).violation_pause_hours == 1


@pytest.mark.parametrize(("limit", "hours"), [(-1, None), (21, None), (None, 0), (None, 721)])
async def test_violation_limits_out_of_bounds_are_refused(
    policy: PolicyService, limit: int | None, hours: int | None
) -> None:
    with pytest.raises(NotPossible, match="OUT_OF_BOUNDS"):
        await policy.set_violation_limit(ADMIN, limit, hours)


async def test_every_change_is_in_the_audit_log_and_notified(policy: PolicyService, database: Database) -> None:
    await set_log_channel(database)
    await policy.set_entry(ADMIN, PolicyEntry(CHANNEL, 100, allowed=True))
    await policy.set_entry(ADMIN, PolicyEntry(CHANNEL, 100, allowed=True))
    await policy.block_terms(ADMIN, "x *gore* x")

    added = {"count": 1, "added": [{"text": "x *gore* x", "is_pattern": False}]}
    assert await audit_log(database) == [
        AuditedChange(Action.POLICY_SET, TargetKind.CHANNEL, "100", None, {"allowed": True}),
        AuditedChange(Action.TERMS_BLOCKED, before={"count": 0}, after=added),
    ]
    first, second = sorted(await notified_texts(database), key=lambda text: "gore" in text)
    assert "<@7>" in first
    assert "<#100>" in first
    assert r"x \*gore\* x" in second


async def test_an_admin_of_another_server_neither_sees_nor_changes_the_policy(
    policy: PolicyService, store: JobStore, database: Database
) -> None:
    await set_log_channel(database, 11)
    await policy.set_entry(ADMIN, PolicyEntry(CHANNEL, 500, allowed=False))
    await policy.block_terms(ADMIN, "gore")
    before = await audit_log(database)

    assert await policy.entries(OTHER_ADMIN, CHANNEL) == []
    assert await policy.terms(OTHER_ADMIN) == ()
    assert (await policy.terms_and_settings(OTHER_ADMIN))[0] == ()
    with pytest.raises(NotPossible):
        await policy.remove_entry(OTHER_ADMIN, CHANNEL, 500)
    with pytest.raises(NotPossible):
        await policy.unblock_term(OTHER_ADMIN, "gore")
    await policy.set_entry(OTHER_ADMIN, PolicyEntry(CHANNEL, 500, allowed=True))
    await policy.block_terms(OTHER_ADMIN, "fox")
    await policy.set_resolutions(OTHER_ADMIN, frozenset({Resolution.P480}))
    await policy.set_age_restricted_only(OTHER_ADMIN, only=True)
    await policy.set_approval(OTHER_ADMIN, needed=True)
    await policy.set_violation_limit(OTHER_ADMIN, 1, 1)

    assert await audit_log(database) == before
    assert await settings(database) == GuildSettings()
    assert await policy.terms(ADMIN) == (BlockedTerm("gore"),)
    assert await policy.entries(ADMIN, CHANNEL) == [PolicyEntry(CHANNEL, 500, allowed=False)]
    assert await order(store) == JobState.QUEUED


async def test_removing_an_entry_keeps_the_same_entry_of_another_server(policy: PolicyService) -> None:
    for admin in (ADMIN, OTHER_ADMIN):
        await policy.set_entry(admin, PolicyEntry(CHANNEL, 500, allowed=False))
        await policy.set_entry(admin, PolicyEntry(ROLE, 500, allowed=False))
        await policy.block_terms(admin, "gore")

    await policy.unblock_term(OTHER_ADMIN, "gore")
    await policy.remove_entry(OTHER_ADMIN, CHANNEL, 500)

    assert await policy.terms(ADMIN) == (BlockedTerm("gore"),)
    assert await policy.entries(ADMIN, CHANNEL) == [PolicyEntry(CHANNEL, 500, allowed=False)]
    assert await policy.entries(OTHER_ADMIN, ROLE) == [PolicyEntry(ROLE, 500, allowed=False)]
