"""Every kind of notification has a text that fits a message and in which hostile text is inert."""

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
    BackupFailed,
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
FREE_TEXT_KINDS = (Text, Announcement)
EXAMPLES: tuple[Notification, ...] = (
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
    BackupFailed(HOSTILE),
)


def rendered_text(kind: str, payload: dict[str, Any] | None) -> str:
    [text] = render([StoredNotification(kind, payload)])
    return text


def text_after_storing(it: Notification) -> str:
    """Its text after it was stored in the database and read again."""
    saved = stored(it)
    return rendered_text(saved.kind, storable_json(saved.payload))


def test_a_failed_backup_says_why_or_that_the_log_does() -> None:
    assert "No space left" in text_of_notification(BackupFailed("/backups: No space left"))
    assert "my log has the details" in text_of_notification(BackupFailed(None))


def test_the_examples_cover_each_kind() -> None:
    assert [type(it) for it in EXAMPLES] == list(KINDS)


@pytest.mark.parametrize("it", EXAMPLES, ids=[KINDS[type(it)] for it in EXAMPLES])
def test_each_kind_has_the_same_text_after_it_was_stored(it: Notification) -> None:
    assert text_after_storing(it) == text_of_notification(it)


@pytest.mark.parametrize(
    "it", [it for it in EXAMPLES if not isinstance(it, FREE_TEXT_KINDS)], ids=lambda it: KINDS[type(it)]
)
def test_hostile_text_is_inert_and_the_longest_text_fits_a_message(it: Notification) -> None:
    texts = {field.name: value * 500 for field in fields(it) if (value := getattr(it, field.name)) == HOSTILE}
    text = text_after_storing(replace(it, **texts))
    assert "@everyone" not in text.replace(r"\@everyone", "")
    assert "\n# " not in text
    assert "<@5>" not in text
    assert discord_length(text) <= 2000


@pytest.mark.parametrize("reason", [*LimitName, *RuleName])
def test_a_refusal_notification_says_why_the_member_was_refused(reason: str) -> None:
    text = text_of_notification(MemberRefused(7, 5, reason, None))
    assert text.startswith("✋ <@7> asked for a video in <#5> and was refused: ")
    assert reason == "role" or f": {reason}." not in text


@pytest.mark.parametrize("failure", FailureReason)
def test_each_failure_reason_has_its_text(failure: FailureReason) -> None:
    assert "_" not in text_of_notification(JobFailed(7, failure, None, "a fox"))


def test_a_failure_without_a_detail_gives_only_its_reason() -> None:
    rejected = text_of_notification(JobFailed(7, FailureReason.REJECTED, None, "a fox"))
    assert rejected.startswith("🛡️ A video for <@7> was rejected (**rejected by the video service's moderation**)")
    text = text_of_notification(JobFailed(7, FailureReason.TIMED_OUT, None, "a fox"))
    assert text == "❌ A video for <@7> failed (**took too long**)\n> a fox"


def test_a_used_up_budget_without_amounts_has_a_text_without_numbers() -> None:
    text = text_of_notification(BudgetUsedUp(BudgetPeriod.DAY))
    assert text.startswith("🛑 A member was refused because today's budget is used up.")


@pytest.mark.parametrize(
    ("kind", "payload"), [("of_tomorrow", {}), ("job_failed", {"user_id": 1}), ("welcome", None)]
)
def test_an_unreadable_notification_gets_a_placeholder_text(kind: str, payload: dict[str, object] | None) -> None:
    assert "can't describe" in rendered_text(kind, payload)


def test_the_alert_about_a_closed_gate_names_the_command_that_opens_it() -> None:
    assert "`/operator gate state:open`" in text_of_notification(GateClosed(1_769_860_800, "HTTP 429"))


def test_a_job_that_no_provider_had_is_looked_for_at_whichever_there_is() -> None:
    text = text_of_notification(TaskUnresolved("job-1", 10, 1_769_860_800, 1_769_860_860, None, None))
    assert "Look for the task in the list of your provider, then" in text
