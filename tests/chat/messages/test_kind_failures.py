"""Every failure and refusal has a text of its own: what happened, that it cost nothing, and what to do now."""

import re
from collections.abc import Iterable
from dataclasses import replace
from enum import Enum

import pytest

from bot.chat.messages import member_texts
from bot.chat.messages.markdown import CONTENT_MAX, discord_length
from bot.chat.messages.reason_texts import FREE, refused_order, text_of
from bot.domain.approvals import ApprovalProblem
from bot.domain.errors import Problem, Reason
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, Job, JobState, Order, RecoveryProblem
from bot.domain.terms import TermProblem, UnusableTerm
from bot.media.picture_problems import PictureProblem, UnusablePicture
from bot.services.admin.audited import AdminProblem, AdminRefused
from bot.services.admin.jobs import CannotRetry, NothingToRetry
from bot.services.operator.operator_input import OperatorProblem, OperatorRefused
from bot.services.operator.service import CannotReconcile
from tests.chat.messages.jobs import JOB, NOW, job
from tests.chat.messages.test_reason_texts import EVERY_REASON, LIMITS, POLICY

_C, _R = FailureCause, FailureReason
FAILURES: dict[FailureReason, tuple[FailureCause, ...]] = {
    _R.REFUSED: (_C.PICTURE_GONE, _C.REFUSED_BY_SERVICE),
    _R.REJECTED: (_C.CONTENT_REFUSED,),
    _R.OUTCOME_UNKNOWN: (_C.INTERRUPTED, _C.BROKEN_OFF, _C.ANSWER_LOST, _C.RESTORED),
    _R.LOST: (_C.INTERRUPTED, _C.BROKEN_OFF, _C.ANSWER_LOST, _C.RESTORED),
    _R.UPSTREAM_FAILED: (_C.TASK_UNKNOWN, _C.TASK_FAILED, _C.TASK_CANCELLED),
    _R.TIMED_OUT: (_C.SERVICE_UNREACHABLE, _C.NOT_FINISHED),
    _R.RESULT_UNUSABLE: (_C.NO_VIDEO, _C.VIDEO_UNUSABLE),
    _R.UNDELIVERABLE: (
        _C.CHANNEL_CLOSED,
        _C.NOT_ANSWERABLE,
        _C.PERMISSION_MISSING,
        _C.THREAD_LOCKED,
        _C.VIDEO_TOO_LARGE,
        _C.NOT_DELIVERED,
        _C.NO_REVIEW_CHANNEL,
        _C.REVIEW_CHANNEL_CLOSED,
    ),
    _R.ABANDONED: (_C.FAILED_REPEATEDLY,),
    _R.DECLINED: (_C.DECLINED,),
    _R.EXPIRED: (_C.EXPIRED,),
}
"""Which causes a failure can have. Any may also have none, or only words, from an earlier version."""

CANCELLATIONS = (_C.CANCELLED_BY_ADMIN, _C.SERVER_BLOCKED, _C.BOT_REMOVED, _C.MODEL_GONE, _C.TOO_DEAR)

ACTION = re.compile(
    r"`/|<t:|\bnothing (?:left )?to\b"
    r"|\b(?:please|try|describe|ask|use|choose|change|send|write|leave|add|set|copy|close)\b"
    r"|\b(?:admins?|operator|moderator) (?:can|needs? to)\b|\b(?:has|have) to\b|\bmust\b|\byou can\b",
    re.IGNORECASE,
)
"""Something that the reader, or somebody whom they can ask, can do; or that there is nothing to do."""


def failed(reason: FailureReason, cause: FailureCause | None, *, longest: bool = False) -> Job:
    quote = "*" * 300 if longest else "Too *odd*"
    left = 20 if longest and cause is _C.CONTENT_REFUSED else None
    detail = cause and FailureDetail(cause, quote, "*" * 100, 30, violations_left=left)
    given = job(JobState.FAILED, failure_reason=reason, failure_detail=detail, submitted_at=NOW)
    return replace(given, credit_grant_id=1, result_url="https://cdn.example/x.mp4") if longest else given


def cancelled(cause: FailureCause, *, charged: bool = False) -> Job:
    return job(JobState.CANCELLED, charged=charged, submitted_at=NOW, failure_detail=FailureDetail(cause))


PAIRS = [(reason, cause) for reason, causes in FAILURES.items() for cause in (*causes, _C.IN_WORDS, None)]
ENDED_BADLY = [failed(*pair) for pair in PAIRS] + [
    cancelled(cause, charged=charged) for cause in CANCELLATIONS for charged in (False, True)
]


def named(given: Job) -> str:
    cause = None if given.failure_detail is None else given.failure_detail.cause
    return f"{given.failure_reason or given.state}, {cause or 'no detail'}"


def test_the_failures_have_every_reason_and_every_cause() -> None:
    causes = {cause for causes in FAILURES.values() for cause in causes}
    assert FAILURES.keys() == set(FailureReason)
    assert causes | set(CANCELLATIONS) | {_C.IN_WORDS} == set(FailureCause)


@pytest.mark.parametrize("given", ENDED_BADLY, ids=named)
def test_a_failure_says_what_it_cost_what_to_do_now_and_the_jobs_id(given: Job) -> None:
    text = member_texts.failure(given)
    what_happened, costs, what_now = re.split(
        r"(It doesn't count(?: against the quota)?\.|It was already paid for, so it counts\.)", text
    )
    assert what_happened.strip()
    assert costs.startswith("It was" if given.state is JobState.CANCELLED and given.charged else "It doesn't")
    assert ACTION.search(what_now.splitlines()[0])
    assert text.splitlines()[-1] == f"-# Job `{JOB.id}`"


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_the_longest_failure_fits_a_message(pair: tuple[FailureReason, FailureCause | None]) -> None:
    text = member_texts.failure(replace(failed(*pair, longest=True), order=Order("*" * 800)))
    assert discord_length(text) <= CONTENT_MAX
    assert f"`{JOB.id}`" in text


def test_each_cause_of_a_failure_has_a_text_of_its_own() -> None:
    by_cause = [failed(reason, cause) for reason, causes in FAILURES.items() for cause in causes]
    without_a_detail = [failed(reason, None) for reason in FailureReason]
    seen: dict[str, set[object]] = {}
    for given in [*by_cause, *(cancelled(cause) for cause in CANCELLATIONS), *without_a_detail]:
        cause = given.failure_detail and given.failure_detail.cause
        first_line = member_texts.failure(given).splitlines()[0]
        seen.setdefault(first_line, set()).add(cause or given.failure_reason)
    assert [sorted(map(str, said)) for said in seen.values() if len(said) > 1] == []


CODES: dict[str, Iterable[tuple[Enum, Reason]]] = {
    "order": [(one, one) for one in Problem],
    "approval": [(one, one) for one in ApprovalProblem],
    "picture": [(one, UnusablePicture(one, (20_000, 20_000), (180, 200), 25_100_000)) for one in PictureProblem],
    "term": [(one, UnusableTerm(one, "x" * 300, "why")) for one in TermProblem],
    "limit": [(one.limit, one) for one in LIMITS],
    "rule": [(one.rule, one) for one in POLICY],
    "admin": [(one, AdminRefused(one, 5, 6, "channel")) for one in AdminProblem],
    "operator": [(one, OperatorRefused(one, 5)) for one in OperatorProblem],
    "reconciling": [(one, CannotReconcile(one)) for one in RecoveryProblem],
}


@pytest.mark.parametrize("kind", CODES)
def test_no_two_codes_of_a_kind_share_a_text(kind: str) -> None:
    codes: dict[str, set[Enum]] = {}
    for code, reason in CODES[kind]:
        codes.setdefault(text_of(reason), set()).add(code)
    assert [shared for shared in codes.values() if len(shared) > 1] == []


ALL_REASONS: list[Reason] = [
    *(reason for reason in EVERY_REASON if type(reason).__name__ not in {"Said", "AlreadyDecided"}),
    *(reason for kind in ("admin", "operator", "reconciling") for _, reason in CODES[kind]),
    *(NothingToRetry(state) for state in JobState),
    *(CannotRetry(why, unknown) for why in RecoveryProblem for unknown in (False, True)),
]
"""All but those whose text says all: that somebody was quicker, and what only the Discord side knows."""


@pytest.mark.parametrize("reason", ALL_REASONS, ids=lambda reason: repr(reason)[:60])
def test_every_refusal_names_something_to_do(reason: Reason) -> None:
    assert ACTION.search(text_of(reason))
    assert discord_length(text_of(reason)) <= CONTENT_MAX


@pytest.mark.parametrize(
    "reason", [*LIMITS, *POLICY, *(it[1] for it in CODES["picture"])], ids=lambda reason: repr(reason)[:60]
)
def test_a_refused_order_says_once_that_nothing_was_charged(reason: Reason) -> None:
    text = refused_order(reason)
    assert text.count(FREE) == 1
    assert text.splitlines()[0].endswith(FREE)
    assert discord_length(text) <= CONTENT_MAX
