from datetime import timedelta

from bot.domain.jobs import FailureReason, JobState
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, PauseSubmissions
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.submission_gate import Gate
from bot.store.outbox.notifications import TO_OPERATOR
from tests.providers_asked import VTRIX, vtrix
from tests.store.factories import (
    DETAIL,
    MINUTE,
    NOW,
    SECOND,
    add_waiting,
    bring_to,
    close_gate,
    next_job,
    notified_texts,
    read,
)


async def test_a_new_gate_is_open(store: JobStore) -> None:
    gate = await store.gate(VTRIX)
    assert gate == Gate(opens_at=None, reason=None, failures=0, next_submit_at=None)
    assert not gate.is_closed(NOW)
    assert gate.next_submission_at(NOW) == NOW


async def test_a_closed_gate_says_until_when_and_why(store: JobStore) -> None:
    await close_gate(store, NOW + MINUTE, "no balance \ud800", NOW)
    gate = await store.gate(VTRIX)
    assert (gate.opens_at, gate.reason, gate.failures) == (NOW + MINUTE, "no balance \ufffd", 1)
    assert gate.is_closed(NOW + MINUTE - SECOND)
    assert not gate.is_closed(NOW + MINUTE)


async def test_failures_in_a_row_are_counted(store: JobStore) -> None:
    for number in range(3):
        await close_gate(store, NOW + (number + 1) * MINUTE, "rate limit", NOW + number * MINUTE)
    assert (await store.gate(VTRIX)).failures == 3


async def test_jobs_that_fail_together_count_as_one_failure(store: JobStore) -> None:
    for _ in range(5):
        await close_gate(store, NOW + MINUTE, "rate limit", NOW)
    assert (await store.gate(VTRIX)).failures == 1


async def test_after_a_failure_jobs_are_submitted_one_by_one_until_one_succeeds(store: JobStore) -> None:
    for _ in range(3):
        await add_waiting(store)
    held = await next_job(store)
    assert held is not None
    assert await store.apply(held, PauseSubmissions(NOW + MINUTE, "no balance"), NOW)
    later = NOW + MINUTE
    probe = await next_job(store, later)
    assert probe is not None
    assert await next_job(store, later) is None
    assert await store.next_due_at(later, vtrix(5)) == later + MINUTE, (
        "nothing can be claimed before the probe ends"
    )
    assert await store.apply(
        probe, MoveTo(JobState.RUNNING, JobUpdate(upstream_id="t", submitted_at=later)), later
    )
    await store.open_gate(VTRIX, later)
    assert await next_job(store, later) is not None
    assert await next_job(store, later) is not None


async def test_a_lost_response_closes_the_gate_and_alerts_the_operator_with_its_details(
    store: JobStore, database: Database
) -> None:
    lost = await bring_to(store, JobState.SUBMITTING)
    pause = PauseSubmissions(NOW + MINUTE, "The gateway answered 502: Bad Gateway")
    assert await store.apply(lost, Fail(FailureReason.OUTCOME_UNKNOWN, DETAIL, pause=pause), NOW)
    assert (await store.gate(VTRIX)).is_closed(NOW)
    alerts = await notified_texts(database, TO_OPERATOR)
    assert any(lost.id in text and "answered 502" in text for text in alerts)


async def test_a_shorter_closure_does_not_shorten_the_current_one(store: JobStore) -> None:
    await close_gate(store, NOW + MINUTE, "no balance", NOW)
    await close_gate(store, NOW + SECOND, "rate limit", NOW)
    gate = await store.gate(VTRIX)
    assert (gate.opens_at, gate.reason, gate.failures) == (NOW + MINUTE, "no balance", 1)


async def test_a_longer_closure_replaces_the_current_one(store: JobStore) -> None:
    await close_gate(store, NOW + SECOND, "rate limit", NOW)
    await close_gate(store, NOW + MINUTE, "no balance", NOW)
    gate = await store.gate(VTRIX)
    assert (gate.opens_at, gate.reason) == (NOW + MINUTE, "no balance")


async def test_opening_the_gate_resets_the_failures_and_keeps_the_submission_pause(store: JobStore) -> None:
    await add_waiting(store)
    await store.claim_queued(NOW, vtrix(5, MINUTE), MINUTE)
    await close_gate(store, NOW + MINUTE, "no balance", NOW)
    await store.open_gate(VTRIX, NOW + MINUTE)
    assert await store.gate(VTRIX) == Gate(None, None, 0, next_submit_at=NOW + MINUTE)


async def test_a_gate_that_was_closed_again_is_not_opened_by_an_earlier_submission(store: JobStore) -> None:
    await close_gate(store, NOW + MINUTE, "rate limit", NOW)
    await store.open_gate(VTRIX, NOW + SECOND)
    assert (await store.gate(VTRIX)).opens_at == NOW + MINUTE


async def alerts(store: JobStore) -> list[str]:
    return await notified_texts(store._db, TO_OPERATOR)


async def test_a_closure_of_more_than_ten_minutes_alerts_the_operator_at_once(store: JobStore) -> None:
    await close_gate(store, NOW + 10 * MINUTE, "rate limit", NOW)
    assert await alerts(store) == []
    await close_gate(store, NOW + 22 * MINUTE, "rate limit", NOW + 11 * MINUTE)
    [alert] = await alerts(store)
    assert "rate limit" in alert


async def test_a_closure_that_is_extended_beyond_ten_minutes_alerts_the_operator_once(store: JobStore) -> None:
    """Submissions that fail together: the second names a longer pause than the first."""
    await close_gate(store, NOW + SECOND, "busy", NOW)
    await close_gate(store, NOW + 15 * MINUTE, "rate limit", NOW)
    await close_gate(store, NOW + 16 * MINUTE, "rate limit", NOW + SECOND)
    [alert] = await alerts(store)
    assert "rate limit" in alert


async def test_a_long_closure_after_the_third_in_a_row_alerts_the_operator_too(store: JobStore) -> None:
    for number in range(3):
        await close_gate(store, NOW + (number + 1) * MINUTE, "busy", NOW + number * MINUTE)
    await close_gate(store, NOW + 30 * MINUTE, "rate limit", NOW + 4 * MINUTE)
    assert ["rate limit" in alert for alert in await alerts(store)] == [False, True]


async def test_a_worker_whose_clock_is_behind_keeps_to_the_longest_pause(store: JobStore) -> None:
    await close_gate(store, NOW + timedelta(hours=1), "rate limit", NOW)
    assert (await store.gate(VTRIX)).is_closed(NOW - 10 * SECOND)


async def test_short_closures_alert_the_operator_at_the_third_in_a_row(store: JobStore) -> None:
    for number in range(5):
        await close_gate(store, NOW + (number + 1) * MINUTE, "rate limit", NOW + number * MINUTE)
        assert len(await alerts(store)) == (number >= 2)


async def test_a_closure_longer_than_any_that_is_written_is_ignored(store: JobStore) -> None:
    """As an earlier version wrote it, or a clock that was set back since."""
    await close_gate(store, NOW + timedelta(days=1), "Retry-After: 86400", NOW)
    gate = await store.gate(VTRIX)
    assert not gate.is_closed(NOW)
    assert gate.next_submission_at(NOW) == NOW


async def test_opening_an_open_gate_writes_nothing(store: JobStore, database: Database) -> None:
    """It is called after every submission, so it must not wait for other writers."""
    async with database.write():
        await store.open_gate(VTRIX, NOW)


async def test_a_paused_submission_closes_the_gate_and_requeues_its_job_in_one_write(store: JobStore) -> None:
    held = await bring_to(store, JobState.SUBMITTING)
    assert await store.apply(held, PauseSubmissions(NOW + MINUTE, "no balance"), NOW)
    job = await read(store, held)
    assert (job.state, job.due_at, job.lease_token, job.claim_count, job.charged) == (
        JobState.QUEUED,
        None,
        None,
        0,
        True,
    )
    assert await store.frame(job.id) is not None
    assert (await store.gate(VTRIX)).reason == "no balance"
    assert await next_job(store, NOW + SECOND) is None
    assert await next_job(store, NOW + MINUTE) is not None


async def test_a_paused_submission_closes_the_gate_even_if_its_lease_was_lost(store: JobStore) -> None:
    lost = await bring_to(store, JobState.SUBMITTING)
    await store.release([lost])
    assert not await store.apply(lost, PauseSubmissions(NOW + MINUTE, "no balance"), NOW)
    assert (await read(store, lost)).state is JobState.SUBMITTING
    assert (await store.gate(VTRIX)).is_closed(NOW)


async def test_a_closure_longer_than_any_that_is_written_is_cleared_by_a_success(store: JobStore) -> None:
    await close_gate(store, NOW + timedelta(days=1), "Retry-After: 86400", NOW)
    await store.open_gate(VTRIX, NOW + SECOND)
    assert (await store.gate(VTRIX)).failures == 0
