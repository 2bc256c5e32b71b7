"""A member whom the bot stops for blocked prompts is "paused", one whom an admin stops "banned", in every text."""

from datetime import UTC, datetime, timedelta

from bot.chat.messages import audit_texts, policy_texts
from bot.chat.messages.notification_texts import text_of_notification
from bot.chat.messages.reason_texts import text_of
from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind
from bot.domain.guilds import BLOCKED_PROMPTS, Ban
from bot.domain.notifications import MemberPaused, MemberRefused
from bot.domain.policy import MemberBanned, RuleName
from bot.services.admin.bans import Banned

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
UNTIL = NOW + timedelta(hours=1)
PAUSE = Ban(10, 1, BLOCKED_PROMPTS, NOW, UNTIL)
UNEXPLAINED = Ban(10, 1, audit_texts.NO_REASON, NOW, None, actor_id=7)


def entry(action: Action, before: Ban | None, after: Ban | None) -> AuditEntry:
    was, now = (
        None
        if ban is None
        else {"until": ban.expires_at and int(ban.expires_at.timestamp()), "reason": ban.reason}
        for ban in (before, after)
    )
    return AuditEntry(10, NOW, 7, AuditedChange(action, TargetKind.MEMBER, "1", was, now))


def test_a_member_with_too_many_blocked_prompts_is_called_paused_everywhere() -> None:
    texts = [
        text_of(MemberBanned(RuleName.MEMBER_PAUSED, PAUSE)),
        text_of_notification(MemberRefused(1, 2, RuleName.MEMBER_PAUSED, None)),
        text_of_notification(MemberPaused(1, int(UNTIL.timestamp()), 3, "x")),
        policy_texts.bans([PAUSE]),
        audit_texts.answer(entry(Action.MEMBER_UNBANNED, PAUSE, None)),
    ]
    assert [text for text in texts if "paused" not in text] == []
    assert [text for text in texts if " banned" in text] == []


def test_a_ban_without_a_reason_does_not_promise_that_the_member_sees_one() -> None:
    result = Banned(entry(Action.MEMBER_BANNED, None, UNEXPLAINED), UNEXPLAINED, 0)

    assert "They see the reason" not in policy_texts.banned(result)
    assert "ban them again with a `reason`" in policy_texts.banned(result)


def test_a_member_banned_without_a_reason_reads_that_none_was_given() -> None:
    text = text_of(MemberBanned(RuleName.BANNED, UNEXPLAINED))

    assert "No reason was given." in text
    assert "Reason:" not in text
