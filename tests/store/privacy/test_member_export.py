"""The preview of an erasure, and the export of a member's data."""

from bot.domain.jobs import JobState
from bot.domain.member_data import ErasurePreview
from bot.store.schema import (
    audit_log,
    bans,
    limit_overrides,
    violations,
)
from tests.store.factories import (
    MINUTE,
    NOW,
    add,
    bring_to,
)
from tests.store.privacy.conftest import DAY, ME, OTHER, MemberDataHarness


async def test_the_preview_counts_what_an_erasure_affects(harness: MemberDataHarness) -> None:
    await harness.add_ended_job(NOW)
    await bring_to(harness.store, JobState.RUNNING, NOW + 2 * MINUTE)
    await add(harness.store, NOW + 4 * MINUTE)
    await harness.grant_credits(3)

    assert await harness.privacy.preview_erasure(ME) == ErasurePreview(1, 1, 1, 3, None, pictures=1)

    await harness.privacy.request_erasure(ME, NOW)
    assert (await harness.privacy.preview_erasure(ME)).asked_at == NOW
    assert await harness.privacy.preview_erasure(OTHER) == ErasurePreview(0, 0, 0, 0, None)


async def test_an_export_contains_all_data_of_the_member_and_none_of_others(harness: MemberDataHarness) -> None:
    job = await harness.add_ended_job(NOW)
    await harness.add_ended_job(NOW, OTHER)
    grant_id = await harness.grant_credits(2)
    await harness.grant_credits(2, OTHER)
    for user_id in (ME, OTHER):
        await harness.insert(violations, {"guild_id": 10, "user_id": user_id, "created_at": NOW})
        ban = {"guild_id": 10, "user_id": user_id, "reason": f"of {user_id}", "created_at": NOW, "actor_id": 99}
        await harness.insert(bans, ban)
        await harness.insert(
            limit_overrides, {"guild_id": 10, "kind": "member", "target_id": user_id, "videos_per_window": user_id}
        )
        change = {"guild_id": 10, "at": NOW, "by": user_id, "action": "legacy", "what": f"by {user_id}"}
        await harness.insert(audit_log, change)
    await harness.insert(
        limit_overrides, {"guild_id": 10, "kind": "role", "target_id": ME, "videos_per_window": 7}
    )

    held = await harness.privacy.read(ME)

    assert [it.job.id for it in held.jobs] == [job.id]
    assert {it.user_id for it in held.entries} == {ME}
    assert [it.id for it in held.grants] == [grant_id]
    assert [it.reason for it in held.bans] == ["of 1"]
    assert held.violations == ((10, NOW),)
    assert [(guild_id, tier.videos_per_window) for guild_id, tier in held.limits] == [(10, ME)]
    assert [it.change.legacy_what for it in held.changes] == ["by 1"]
    assert held.left_out == {}


async def test_a_large_export_contains_the_newest_rows_and_counts_the_rest(harness: MemberDataHarness) -> None:
    for days in (5, 4, 3):
        await harness.add_ended_job(NOW - days * DAY)

    held = await harness.privacy.read(ME, limit=2)

    assert [it.job.created_at for it in held.jobs] == [NOW - 3 * DAY, NOW - 4 * DAY]
    assert held.left_out is not None
    assert held.left_out["videos"] == 1
