"""Every kind of notification has its words, which fit a message and let nothing foreign work."""

from dataclasses import fields, replace
from typing import Any

import pytest

from bot.chat.messages.markdown import discord_length
from bot.chat.messages.notification_texts import render, text_of_notification
from bot.domain.audit_log import Action, AuditedChange, TargetKind
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason
from bot.domain.notifications import (
    KINDS,
    ActionLogged,
    Announcement,
    AnswerLost,
    BudgetNearlyUsed,
    BudgetUsedUp,
    GateClosed,
    JobFailed,
    LogChannelLeft,
    MemberPaused,
    MemberRefused,
    Notification,
    StoredNotification,
    TaskTimedOut,
    TaskUnresolved,
    Text,
    Welcome,
    stored,
)
from bot.domain.policy import RuleName
from bot.domain.quotas import BudgetPeriod, LimitName
from bot.store.types import storable_json

HOSTILE = "@everyone\n# x **y** <@5>"
DETAIL = FailureDetail(FailureCause.REFUSED_BY_SERVICE, HOSTILE)
BAN = AuditedChange(Action.MEMBER_BANNED, TargetKind.MEMBER, "9", None, {"until": None, "reason": HOSTILE})
OWN_WORDS = (Text, Announcement)
ALL: tuple[Notification, ...] = (
    Text("as it is"),
    Announcement("**hello**"),
    Welcome(HOSTILE, allowed=False),
    JobFailed(7, FailureReason.REFUSED, DETAIL, HOSTILE),
    TaskTimedOut("job-1", 10, HOSTILE, DETAIL),
    TaskUnresolved("job-1", 10, 1_769_860_800, 1_769_860_860, DETAIL),
    AnswerLost("job-1", HOSTILE),
    BudgetNearlyUsed(BudgetPeriod.DAY, 80, "8.1", "10"),
    BudgetUsedUp(BudgetPeriod.MONTH, "9.9", "10"),
    GateClosed(1_769_860_800, HOSTILE),
    MemberRefused(7, 5, RuleName.BLOCKED_TERM, HOSTILE),
    MemberPaused(7, 1_769_860_800, 3, HOSTILE),
    ActionLogged(10, 7, BAN),
    LogChannelLeft(7, None),
)


def words_of(kind: str, payload: dict[str, Any] | None) -> str:
    [text] = render([StoredNotification(kind, payload)])
    return text


def text_after_storing(it: Notification) -> str:
    """The words for it, as they are after it went through the database."""
    saved = stored(it)
    return words_of(saved.kind, storable_json(saved.payload))


def test_there_is_one_of_each_kind() -> None:
    assert [type(it) for it in ALL] == list(KINDS)


@pytest.mark.parametrize("it", ALL, ids=[KINDS[type(it)] for it in ALL])
def test_each_kind_reads_the_same_after_it_was_stored(it: Notification) -> None:
    assert text_after_storing(it) == text_of_notification(it)


@pytest.mark.parametrize("it", [it for it in ALL if not isinstance(it, OWN_WORDS)], ids=lambda it: KINDS[type(it)])
def test_foreign_text_does_nothing_and_the_longest_fits_a_message(it: Notification) -> None:
    texts = {field.name: value * 500 for field in fields(it) if (value := getattr(it, field.name)) == HOSTILE}
    text = text_after_storing(replace(it, **texts))
    assert "@everyone" not in text.replace(r"\@everyone", "")
    assert "\n# " not in text
    assert "<@5>" not in text
    assert discord_length(text) <= 2000


@pytest.mark.parametrize("reason", [*LimitName, *RuleName])
def test_moderators_read_why_a_member_was_refused(reason: str) -> None:
    text = text_of_notification(MemberRefused(7, 5, reason, None))
    assert text.startswith("✋ <@7> asked for a video in <#5> and was refused: ")
    assert reason == "role" or f": {reason}." not in text


@pytest.mark.parametrize("failure", FailureReason)
def test_each_failure_has_its_words(failure: FailureReason) -> None:
    assert "_" not in text_of_notification(JobFailed(7, failure, None, "a fox"))


def test_a_failure_without_a_detail_says_no_more_than_it_knows() -> None:
    text = text_of_notification(JobFailed(7, FailureReason.TIMED_OUT, None, "a fox"))
    assert text == "❌ A video for <@7> failed (**took too long**)\n> a fox"


def test_a_member_who_is_refused_by_a_budget_is_told_to_the_operator_without_numbers() -> None:
    text = text_of_notification(BudgetUsedUp(BudgetPeriod.DAY))
    assert text.startswith("🛑 A member was refused because today's budget is used up.")


@pytest.mark.parametrize(
    ("kind", "payload"), [("of_tomorrow", {}), ("job_failed", {"user_id": 1}), ("welcome", None)]
)
def test_what_can_not_be_read_holds_up_nothing(kind: str, payload: dict[str, object] | None) -> None:
    assert "can't describe" in words_of(kind, payload)
