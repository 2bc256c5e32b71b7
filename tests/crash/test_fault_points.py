import sqlite3
from pathlib import Path

import pytest

from bot.domain.jobs import TRANSITIONS as ALLOWED
from bot.domain.jobs import FailureReason, JobState
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Reschedule
from bot.store.jobs.job_store import JobStore
from tests.crash import fault_points
from tests.crash.fault_points import (
    CLAIMS,
    OPERATIONS,
    REQUESTS,
    TRANSITIONS,
    FaultPoint,
    FaultTiming,
    Target,
    replaced,
    watched,
)
from tests.providers_asked import vtrix
from tests.store.factories import DETAIL, LEASES, MANY, MINUTE, NOW, add, claim, next_job

BEFORE, AFTER = FaultTiming.BEFORE, FaultTiming.AFTER
Reached = list[tuple[FaultPoint, FaultTiming]]


def both(*points: FaultPoint) -> Reached:
    return [(point, timing) for point in points for timing in (BEFORE, AFTER)]


async def test_a_transactions_point_is_reached_before_and_after_its_commit(
    store: JobStore, tmp_path: Path
) -> None:
    """Another connection sees the job only after the commit."""
    seen: list[tuple[FaultPoint, FaultTiming, int]] = []

    def record_job_count(point: FaultPoint, timing: FaultTiming) -> None:
        with sqlite3.connect(tmp_path / "zoetrope.db") as other_connection:
            seen.append((point, timing, *other_connection.execute("SELECT count(*) FROM jobs").fetchone()))

    with watched(record_job_count):
        await add(store)
    assert seen == [(FaultPoint.ACCEPT, BEFORE, 0), (FaultPoint.ACCEPT, AFTER, 1)]


async def test_each_transaction_reaches_the_point_of_its_operation(store: JobStore) -> None:
    reached: Reached = []
    with watched(lambda *hit: reached.append(hit)):
        job = await add(store)
        await store.apply(await claim(store, job.id), Reschedule(None), NOW)
        submitting = await next_job(store)
        assert submitting is not None
        await store.apply(
            submitting, MoveTo(JobState.RUNNING, JobUpdate(upstream_id="task-1", submitted_at=NOW)), NOW
        )
        running = await claim(store, job.id)
        await store.apply(running, Fail(FailureReason.REFUSED, DETAIL), NOW)
    assert reached == both(
        FaultPoint.ACCEPT,
        FaultPoint.CLAIM_DUE,
        FaultPoint.RELEASE,
        FaultPoint.RESCHEDULE,
        FaultPoint.CLAIM_QUEUED,
        FaultPoint.TO_RUNNING,
        FaultPoint.CLAIM_DUE,
        FaultPoint.RELEASE,
        FaultPoint.TO_FAILED,
    )


async def test_a_claim_that_finds_nothing_reaches_no_point(store: JobStore) -> None:
    reached: Reached = []
    with watched(lambda *hit: reached.append(hit)):
        assert await store.claim_due(NOW, MANY, LEASES) == []
        assert await store.claim_queued(NOW, vtrix(MANY), MINUTE) is None
    assert reached == []


async def test_a_transaction_that_fails_reaches_no_point(store: JobStore) -> None:
    job = await add(store)
    reached: Reached = []
    with watched(lambda *hit: reached.append(hit)), pytest.raises(ValueError, match="can't go"):
        await store.apply(job, MoveTo(JobState.DELIVERED), NOW)
    assert reached == []


async def test_a_claim_reaches_its_point_in_its_own_transaction_only(store: JobStore) -> None:
    await add(store)
    reached: Reached = []
    with watched(lambda *hit: reached.append(hit)):
        await store.claim_due(NOW, MANY, LEASES)
        await store.free_leases()
    assert reached == both(FaultPoint.CLAIM_DUE)


async def test_the_wrappers_are_removed_afterwards(store: JobStore) -> None:
    reached: Reached = []
    with watched(lambda *hit: reached.append(hit)):
        pass
    await add(store)
    assert reached == []


def test_every_point_is_wrapped_somewhere() -> None:
    wrapped = [target.point for target in (*OPERATIONS, *CLAIMS, *REQUESTS)]
    assert {*wrapped, *TRANSITIONS.values()} == set(FaultPoint)
    functions = [(target.owner, target.function) for target in (*OPERATIONS, *CLAIMS, *REQUESTS)]
    assert len(set(functions)) == len(functions)


def test_every_transition_of_a_job_has_a_point() -> None:
    assert TRANSITIONS.keys() == {to for states in ALLOWED.values() for to in states}


def test_wrapping_a_missing_method_fails() -> None:
    class Renamed:
        async def submit_order(self) -> None: ...

    class Inherits(Renamed): ...

    with pytest.raises(AttributeError, match="submit_order"), replaced(Inherits, Renamed.submit_order, print):
        pass


async def test_a_requests_point_is_reached_before_it_is_sent_and_after_its_response() -> None:
    reached: Reached = []

    async def poll() -> int:
        return len(reached)

    request = fault_points._request(Target(FaultPoint.POLL, None, poll), lambda *hit: reached.append(hit))
    assert await request() == 1
    assert reached == both(FaultPoint.POLL)


async def test_a_failed_request_reaches_its_point_only_before_it_is_sent() -> None:
    reached: Reached = []

    async def poll() -> None:
        raise TimeoutError

    request = fault_points._request(Target(FaultPoint.POLL, None, poll), lambda *hit: reached.append(hit))
    with pytest.raises(TimeoutError):
        await request()
    assert reached == [(FaultPoint.POLL, BEFORE)]
