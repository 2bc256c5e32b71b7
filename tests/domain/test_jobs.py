import re
from collections.abc import MutableMapping, MutableSet
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.jobs import (
    ACTIVE,
    ENDED,
    TRANSITIONS,
    FailureCause,
    FailureDetail,
    JobState,
    RejectedPart,
    may_become,
    new_job_id,
)


def test_every_state_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(JobState)


def test_the_transition_table_is_immutable() -> None:
    assert not isinstance(TRANSITIONS, MutableMapping)
    assert not any(isinstance(targets, MutableSet) for targets in TRANSITIONS.values())


def test_the_allowed_transitions_are_exactly_those_in_the_table() -> None:
    allowed = {(state, to) for state, to in product(JobState, JobState) if may_become(state, to)}
    assert allowed == {(state, to) for state, targets in TRANSITIONS.items() for to in targets}


def test_delivered_failed_and_cancelled_end_a_job() -> None:
    assert {JobState.DELIVERED, JobState.FAILED, JobState.CANCELLED} == ENDED
    assert set(JobState) - ENDED == ACTIVE


def test_a_delivered_job_has_no_transitions() -> None:
    assert not any(may_become(JobState.DELIVERED, to) for to in JobState)


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_a_failed_or_cancelled_job_may_only_return_to_running(state: JobState) -> None:
    assert [to for to in JobState if may_become(state, to)] == [JobState.RUNNING]


@pytest.mark.parametrize("state", sorted(ACTIVE))
def test_every_active_job_may_fail_and_may_be_cancelled(state: JobState) -> None:
    assert may_become(state, JobState.FAILED)
    assert may_become(state, JobState.CANCELLED)


@pytest.mark.parametrize("state", sorted(JobState))
def test_every_state_is_reachable_from_the_initial_states(state: JobState) -> None:
    reached = {JobState.QUEUED, JobState.AWAITING}
    for _ in JobState:
        reached |= {to for known in reached for to in TRANSITIONS[known]}
    assert state in reached


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.AWAITING, JobState.SUBMITTING}))
def test_only_a_job_that_is_certainly_not_submitted_returns_to_the_queue(state: JobState) -> None:
    assert may_become(JobState.AWAITING, JobState.QUEUED)
    assert may_become(JobState.SUBMITTING, JobState.QUEUED)
    assert not may_become(state, JobState.QUEUED)


def test_no_transition_leads_to_awaiting() -> None:
    assert not any(may_become(state, JobState.AWAITING) for state in JobState)


def test_only_a_queued_job_may_be_submitted() -> None:
    assert [state for state in JobState if may_become(state, JobState.SUBMITTING)] == [JobState.QUEUED]


def test_only_a_delivering_job_may_become_delivered() -> None:
    assert [state for state in JobState if may_become(state, JobState.DELIVERED)] == [JobState.DELIVERING]


def test_an_id_is_url_safe_and_leaves_room_for_a_suffix_in_a_nonce() -> None:
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{16}", new_job_id()) for _ in range(200))


def test_ids_do_not_repeat() -> None:
    assert len({new_job_id() for _ in range(10_000)}) == 10_000


@given(
    cause=st.sampled_from(FailureCause),
    quote=st.none() | st.text(),
    code=st.none() | st.text(),
    minutes=st.none() | st.integers(0, 10_000),
)
def test_a_failure_detail_is_read_as_it_was_stored(
    cause: FailureCause, quote: str | None, code: str | None, minutes: int | None
) -> None:
    detail = FailureDetail(cause, quote, code, minutes)
    assert FailureDetail.from_text(detail.to_text()) == detail


@pytest.mark.parametrize("part", [None, *RejectedPart])
def test_what_was_rejected_is_stored(part: RejectedPart | None) -> None:
    detail = FailureDetail(FailureCause.CONTENT_REFUSED, part=part)
    assert FailureDetail.from_text(detail.to_text()) == detail


@pytest.mark.parametrize(
    "sentence",
    [
        "The video service gave up: the model stumbled.",
        "It was not finished after 20 minutes.",
        "",
        "7",
        "[]",
        "null",
        '{"cause": "of a version to come"}',
        '{"cause": "expired", "mood": "of a version to come"}',
        '{"cause": "content_refused", "part": "of a version to come"}',
    ],
)
def test_a_failure_text_of_an_earlier_version_is_kept_as_it_is(sentence: str) -> None:
    assert FailureDetail.from_text(sentence) == FailureDetail(FailureCause.IN_WORDS, sentence)
