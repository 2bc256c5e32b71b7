from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.jobs import FailureReason, Job, JobState, Order
from bot.domain.ledger import (
    NANO,
    ZERO,
    Amounts,
    EntryKind,
    entries_for,
    entry_reason,
    expected_balances,
    is_plausible_cost,
    rounded_up,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ESTIMATE = Decimal("0.2")
COST = Decimal("0.123456789123")
PAID = Decimal("0.123456790")
JOB = Job("job", JobState.QUEUED, 10, 100, 1, Order("a fox"), NOW, NOW)
FREE = replace(JOB, charged=False)

CASES = {
    "accepted": (JOB, Amounts(1, -1, ESTIMATE)),
    "awaiting a moderator": (replace(JOB, state=JobState.AWAITING), Amounts(1, -1, ESTIMATE)),
    "delivered at an unknown cost": (replace(JOB, state=JobState.DELIVERED), Amounts(1, -1, ESTIMATE)),
    "delivered": (replace(JOB, state=JobState.DELIVERED, cost_usd=COST), Amounts(1, -1, PAID)),
    "delivered for nothing": (replace(JOB, state=JobState.DELIVERED, cost_usd=Decimal(0)), Amounts(1, -1)),
    "failed": (replace(FREE, state=JobState.FAILED), ZERO),
    "failed, and the operator paid": (replace(FREE, state=JobState.FAILED, cost_usd=COST), Amounts(usd=PAID)),
    "made, not posted, at an unknown cost": (
        replace(FREE, state=JobState.FAILED, result_url="x"),
        Amounts(usd=ESTIMATE),
    ),
    "made, given up, at an unknown cost": (
        replace(FREE, state=JobState.CANCELLED, result_url="x"),
        Amounts(usd=ESTIMATE),
    ),
    "cancelled in the queue": (replace(FREE, state=JobState.CANCELLED), ZERO),
    "cancelled though it was paid": (replace(JOB, state=JobState.CANCELLED, cost_usd=COST), Amounts(1, -1, PAID)),
    "cancelled under way at an unknown cost": (replace(JOB, state=JobState.CANCELLED), Amounts(1, -1, ESTIMATE)),
    "revived": (replace(FREE, state=JobState.RUNNING), Amounts(usd=ESTIMATE)),
    "revived and being posted": (replace(FREE, state=JobState.DELIVERING), Amounts(usd=ESTIMATE)),
    "revived and delivered": (replace(FREE, state=JobState.DELIVERED, cost_usd=COST), Amounts(usd=PAID)),
    "revived, delivered, of unknown cost": (replace(FREE, state=JobState.DELIVERED), Amounts(usd=ESTIMATE)),
}


@pytest.mark.parametrize(("job", "due"), CASES.values(), ids=CASES)
def test_a_jobs_expected_balances_follow_from_its_state_and_cost(job: Job, due: Amounts) -> None:
    assert expected_balances(job, ESTIMATE, with_credit=True) == due
    assert expected_balances(job, ESTIMATE, with_credit=False) == replace(due, credits=0)


@pytest.mark.parametrize("cost", ["-0.01", "-1", "NaN", "Infinity", "1000000", "1E+29"])
def test_an_implausible_cost_counts_as_unknown(cost: str) -> None:
    assert not is_plausible_cost(Decimal(cost))
    assert expected_balances(replace(JOB, cost_usd=Decimal(cost)), ESTIMATE, with_credit=False).usd == ESTIMATE


@pytest.mark.parametrize("cost", ["0", "-0", "1E-30", "0.12", "999999.999999999"])
def test_a_cost_from_zero_to_the_maximum_is_plausible(cost: str) -> None:
    assert is_plausible_cost(Decimal(cost))


@given(st.decimals(0, 999_999, allow_nan=False, allow_infinity=False))
def test_a_cost_is_rounded_up_to_the_next_nano(cost: Decimal) -> None:
    assert 0 <= rounded_up(cost) - cost < NANO


_counts = st.integers(-9, 9)
_sums = st.builds(Amounts, _counts, _counts, st.integers(-99, 99).map(lambda nanos: nanos * NANO))


@given(_sums, _sums)
def test_subtracting_added_amounts_restores_the_sum(some: Amounts, more: Amounts) -> None:
    assert some + more - more == some
    assert some + ZERO == some


@given(_sums, st.sampled_from([job for job, _ in CASES.values()]))
def test_entries_sum_to_the_change_that_they_explain(change: Amounts, job: Job) -> None:
    entries = entries_for(job, change)
    assert sum((sums for _, sums in entries), ZERO) == change
    assert all(sums != ZERO for _, sums in entries)


def test_a_failure_that_was_paid_for_has_a_return_and_a_settle_entry() -> None:
    failed, due = CASES["failed, and the operator paid"]
    entries = entries_for(failed, due - CASES["accepted"][1])
    assert entries == ((EntryKind.RETURN, Amounts(-1, 1)), (EntryKind.SETTLE, Amounts(usd=PAID - ESTIMATE)))


def test_a_free_failure_returns_everything_in_one_entry() -> None:
    failed, due = CASES["failed"]
    assert entries_for(failed, due - CASES["accepted"][1]) == ((EntryKind.RETURN, Amounts(-1, 1, -ESTIMATE)),)


def test_a_revived_job_reserves_its_estimate_with_its_own_reason() -> None:
    revived, due = CASES["revived"]
    assert entries_for(revived, due) == ((EntryKind.RESERVE, due),)
    assert entry_reason(revived, EntryKind.RESERVE) == "revived"


def test_the_reason_of_an_entry_names_the_jobs_state() -> None:
    assert entry_reason(replace(JOB, state=JobState.DELIVERING), EntryKind.SETTLE) == "delivering"
    lost = replace(FREE, state=JobState.FAILED, failure_reason=FailureReason.OUTCOME_UNKNOWN)
    assert entry_reason(lost, EntryKind.RETURN) == "failed: outcome_unknown"
