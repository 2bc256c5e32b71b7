"""Notifications in words. Pure; foreign text is escaped.

The same notification always has the same text, so that a message that may have been sent can be found again.
"""

import logging
from collections.abc import Sequence
from decimal import Decimal
from functools import singledispatch
from typing import Any

from bot.chat.messages.audit_texts import logged
from bot.chat.messages.failure_texts import failure_detail
from bot.chat.messages.job_overview_texts import REASONS
from bot.chat.messages.markdown import (
    CONTENT_MAX,
    before_web_page,
    discord_length,
    escaped,
    fitting,
    mention,
    several,
)
from bot.chat.messages.provider_texts import provider_name, provider_title
from bot.domain import notifications as events
from bot.domain.jobs import FailureDetail, FailureReason
from bot.domain.money import show_usd
from bot.domain.policy import RuleName
from bot.domain.quotas import BudgetPeriod, LimitName

log = logging.getLogger(__name__)

_NAME_MAX = 100
_PROMPT_MAX = 200
_BLOCKED_PROMPT_MAX = 600
_LAST_PROMPT_MAX = 1200
_DETAIL_MAX = 600
_REASON_MAX = 500

_PERIODS = {BudgetPeriod.DAY: "today's budget", BudgetPeriod.MONTH: "this month's budget"}

_REFUSALS: dict[str, str] = {
    LimitName.MAX_ACTIVE: "they already have as many videos in progress as they're allowed",
    LimitName.COOLDOWN: "the pause between two orders isn't over yet",
    LimitName.VIDEOS_PER_WINDOW: "they've used all their videos for now and have no credits left",
    LimitName.GUILD_VIDEOS_PER_DAY: "this server has used all its videos for today",
    LimitName.GUILD_USD_PER_DAY: "this server's budget for today is used up",
    LimitName.GUILD_USD_PER_MONTH: "this server's budget for this month is used up",
    LimitName.GRANTED_USD_PER_DAY: "the operator's budget for this server is used up for today",
    LimitName.GRANTED_USD_PER_MONTH: "the operator's budget for this server is used up for this month",
    LimitName.TOTAL_USD_PER_DAY: "the bot's budget for today is used up",
    LimitName.TOTAL_USD_PER_MONTH: "the bot's budget for this month is used up",
    LimitName.PROVIDER_USD: "it would cost more than the operator's budgets for the video services allow at all",
    LimitName.QUEUE: "the bot's queue is full",
    LimitName.GUILD_QUEUE: "this server has as many videos in the queue as it's allowed",
    LimitName.UNDELIVERED: "too many of their videos couldn't be posted",
    RuleName.ACCESS: "the operator doesn't let this server make videos",
    RuleName.DIRECT_ORDERS: "the operator takes no orders in direct messages",
    RuleName.DRAINING: "the operator isn't taking new videos right now",
    RuleName.PAUSED: "new videos are paused in this server",
    RuleName.BANNED: "they're banned from making videos",
    RuleName.MEMBER_PAUSED: "they're paused for blocked prompts",
    RuleName.ROLE: "they don't have a role that can make videos",
    RuleName.CHANNEL: "videos aren't allowed in that channel",
    RuleName.AGE_RESTRICTED: "videos are only allowed in age-restricted channels",
    RuleName.RESOLUTION: "that resolution isn't allowed here",
    RuleName.MODEL: "that model isn't allowed here",
    RuleName.BLOCKED_TERM: "their prompt contains a blocked word",
}


def render(stored: Sequence[events.StoredNotification]) -> list[str]:
    """The texts of the first notifications that fit in one message together, at least one.

    Never raises: an unreadable notification must not block the others.
    """
    texts: list[str] = []
    taken = 0
    for one in stored:
        text = fitting(_words_of(one.kind, one.payload), CONTENT_MAX, str) if one.text is None else one.text
        taken += discord_length(text) + bool(texts)
        if texts and taken > CONTENT_MAX:
            break
        texts.append(text)
    return texts


def _words_of(kind: str, payload: dict[str, Any] | None) -> str:
    try:
        return text_of_notification(events.notification_of(kind, payload or {}))
    except Exception:
        log.exception("can't render a notification of kind %r", kind)
        return f"⚠️ Something happened that I can't describe (`{escaped(kind, _NAME_MAX)}`)."


@singledispatch
def text_of_notification(notification: events.Notification) -> str:
    """The text for the log channel: what happened, what it means and what to do about it."""
    raise TypeError(f"no text for {type(notification).__name__}")


@text_of_notification.register
def _written(event: events.Text | events.Announcement) -> str:
    return event.text


@text_of_notification.register
def _welcome(event: events.Welcome) -> str:
    name = escaped(event.server_name, _NAME_MAX)
    lines = [f"👋 Hello, **{name}**! I turn a picture and a few words into a short video: `/animate`."]
    if not event.allowed:
        lines.append(
            "⛔ Whoever runs me hasn't let this server make videos yet, so please ask them. You can already set "
            "me up."
        )
    lines += [
        "If you have *Manage Server*, set these three things first:",
        "1. **Where I report** changes, refusals and failures: `/video-admin log channel`",
        "2. **How many** videos members can make: `/video-admin limits server`",
        "3. **Who can make them, and where**: `/video-admin roles allow`, `/video-admin channels allow`",
        (
            "`/video-admin settings` shows everything. Videos cost money: `/video-admin pause` stops new ones "
            "at once."
        ),
    ]
    return "\n".join(lines)


@text_of_notification.register
def _job_failed(event: events.JobFailed) -> str:
    reason = REASONS.get(FailureReason(event.failure), event.failure)
    why = f" (**{reason}**)" if event.detail is None else f". {failure_detail(event.detail, _DETAIL_MAX)}"
    prompt = escaped(event.prompt, _PROMPT_MAX)
    if event.detail is not None and event.detail.is_violation:
        why += " It counts as a blocked prompt."
    how = (
        "🛡️ A video for {} was rejected" if event.failure == FailureReason.REJECTED else "❌ A video for {} failed"
    )
    return f"{how.format(mention(event.user_id))}{why}\n> {prompt}"


@text_of_notification.register
def _task_timed_out(event: events.TaskTimedOut) -> str:
    task = "" if event.upstream_id is None else f" (`{escaped(event.upstream_id, _DETAIL_MAX)}`)"
    return (
        f"⏱️ I gave up on job `{event.job_id}` in server `{event.guild_id}`: it took too long. The member isn't "
        f"charged, but its task{task} may still finish and cost money. {_detail(event.detail)}"
    ).rstrip()


@text_of_notification.register
def _task_unresolved(event: events.TaskUnresolved) -> str:
    where = "your provider" if event.provider is None else provider_name(event.provider)
    return (
        f"🔎 Job `{event.job_id}` in server `{event.guild_id}` needs reconciling: there may be a task that "
        f"costs money. Ordered <t:{event.asked_at}:f>, answer lost <t:{event.lost_at}:f>. Look for the task in "
        f"the list of {where}, then use `/operator reconcile`. {_detail(event.detail)}"
    ).rstrip()


@text_of_notification.register
def _answer_lost(event: events.AnswerLost) -> str:
    return f"🔎 What I know about job `{event.job_id}`, whose answer was lost: {_reason(event.reason)}"


@text_of_notification.register
def _budget_nearly_used(event: events.BudgetNearlyUsed) -> str:
    return f"⚠️ {event.share}% of {_PERIODS[event.period]} is used ({_share(event.used, event.limit)}). {_RAISE}"


@text_of_notification.register
def _budget_used_up(event: events.BudgetUsedUp) -> str:
    budget = _PERIODS[event.period]
    if event.used is None or event.limit is None:
        return f"🛑 A member was refused because {budget} is used up. {_RAISE}"
    used = _share(event.used, event.limit)
    return f"🛑 {budget.capitalize()} is used up ({used}), so I'm not accepting more videos. {_RAISE}"


@text_of_notification.register
def _gate_closed(event: events.GateClosed) -> str:
    return (
        f"🛑 {provider_title(event.provider)} isn't accepting jobs: {_reason(event.reason)}\nNo job is lost; I'll "
        f"try again <t:{event.until}:R>, or sooner with `/operator gate state:open`. A refused key or an empty "
        "account needs you; a busy or unreachable service doesn't."
    )


@text_of_notification.register
def _member_refused(event: events.MemberRefused) -> str:
    why = _REFUSALS.get(event.reason) or escaped(event.reason, _REASON_MAX)
    prompt = "" if event.prompt is None else f"\n> {escaped(event.prompt, _BLOCKED_PROMPT_MAX)}"
    return (
        f"✋ {mention(event.user_id)} asked for a video in <#{event.channel_id}> and was refused: {why}.{prompt}"
    )


@text_of_notification.register
def _member_paused(event: events.MemberPaused) -> str:
    until = "" if event.until is None else f" until <t:{event.until}:f>"
    prompts = (
        "a blocked prompt" if event.strikes == 1 else f"{several(event.strikes, 'blocked prompt')} within 24 hours"
    )
    last = "" if event.prompt is None else f" The last one:\n> {escaped(event.prompt, _LAST_PROMPT_MAX)}"
    return (
        f"🚫 {mention(event.user_id)} is paused{until} after {prompts}. `/video-admin unban` ends it early.{last}"
    )


@text_of_notification.register
def _action_logged(event: events.ActionLogged) -> str:
    return logged(event.guild_id, event.by, event.change)


@text_of_notification.register
def _log_channel_left(event: events.LogChannelLeft) -> str:
    if event.channel_id is None:
        return f"📜 {mention(event.by)} turned the log off. I won't post it here any more."
    return f"📜 {mention(event.by)} moved the log to <#{event.channel_id}>. I won't post it here any more."


@text_of_notification.register
def _backup_failed(event: events.BackupFailed) -> str:
    reason = "that's a bug in me, and my log has the details." if event.reason is None else _reason(event.reason)
    return (
        f"💾 A scheduled backup failed: {reason}\nVideos aren't affected, no old backup was "
        "removed for it, and I'll try again within an hour. I say this once a day at most."
    )


_RAISE = "`/operator budgets` raises it; `/operator servers` shows who spends how much."


def _share(used: str, limit: str) -> str:
    return f"{show_usd(Decimal(used))} of {show_usd(Decimal(limit))}"


def _reason(reason: str) -> str:
    """What the upstream said, up to where a web page begins: its source tells the operator nothing."""
    return escaped(before_web_page(reason), _REASON_MAX)


def _detail(detail: FailureDetail | None) -> str:
    return "" if detail is None else failure_detail(detail, _DETAIL_MAX)
