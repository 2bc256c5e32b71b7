"""What members read about orders and jobs, as Discord markdown. Pure; foreign text is escaped."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from bot.chat.messages import model_texts
from bot.chat.messages.cancellation_texts import what_became
from bot.chat.messages.failure_texts import QUOTE_MAX, failure_detail, next_step
from bot.chat.messages.markdown import (
    CONTENT_MAX,
    before_web_page,
    discord_length,
    escaped,
    link,
    mention,
    relative,
    several,
)
from bot.chat.messages.picture_texts import picture_changes
from bot.chat.messages.reason_texts import text_of
from bot.chat.messages.status_texts import SERVICE_CLOSED
from bot.domain.durations import show_duration, window_text
from bot.domain.guilds import OUTSIDE_SERVERS
from bot.domain.jobs import FailureCause, FailureReason, Job, JobState
from bot.domain.limits import Allowance, Credit, Limit, Origin
from bot.domain.member_settings import MemberSettings
from bot.services.videos import AcceptedOrder

_GRANTS_MAX = 20
_PROMPT_MAX = 1600
"""Of a message above a video: 800 characters, all escaped. Some models read longer prompts."""


def message_link(job: Job, message_id: int) -> str:
    """The address of a message in the job's channel."""
    place = "@me" if job.guild_id == OUTSIDE_SERVERS else job.guild_id
    return f"https://discord.com/channels/{place}/{job.channel_id}/{message_id}"


def video_link(job: Job) -> str | None:
    """The address of the message with the video: in the job's channel, or between the bot and the member."""
    if not job.result_message_id:
        return None
    if job.result_channel_id is None:
        return message_link(job, job.result_message_id) if job.has_channel else None
    return f"https://discord.com/channels/@me/{job.result_channel_id}/{job.result_message_id}"


def failure(job: Job) -> str:
    """Tells the requester, with a ping, that it failed or that somebody else cancelled it.

    What happened, whether it counts, what to do now, the prompt and the job's id. Where that is too long, the
    service's or Discord's own words are cut, then the prompt.
    """
    text = _failure(job, QUOTE_MAX)
    excess = discord_length(text) - CONTENT_MAX
    if excess > 0 and job.failure_detail is not None:
        quoted = discord_length(escaped(before_web_page(job.failure_detail.quote or ""), QUOTE_MAX))
        text = _failure(job, max(quoted - excess, 1))
        excess = discord_length(text) - CONTENT_MAX
    if excess > 0:
        return _failure(job, 1, discord_length(escaped(job.order.prompt)) - excess)
    return text


def _failure(job: Job, quote_max: int, prompt_max: int | None = None) -> str:
    text = _cancelled(job, quote_max) if job.state is JobState.CANCELLED else _failed(job, quote_max)
    return f"{_with_prompt(f'{mention(job.user_id)}, {text}', job, prompt_max)}\n-# Job `{job.id}`"


def _cancelled(job: Job, quote_max: int) -> str:
    counts = "It was already paid for, so it counts." if job.charged else "It doesn't count."
    said = ["your video was cancelled."]
    if job.failure_detail is not None:
        said.append(failure_detail(job.failure_detail, quote_max))
    if became := what_became(job):
        said.append(became)
    said.append(counts)
    if job.failure_detail is not None:
        said.append(next_step(job.failure_detail))
    return " ".join(said)


def _with_prompt(text: str, job: Job, maximum: int | None = None) -> str:
    return text if _is_withheld(job) else f"{text}\n> {escaped(job.order.prompt, maximum)}"


def _is_withheld(job: Job) -> bool:
    """Whether to hide the prompt, because it was removed or a moderator may not have approved it."""
    if job.is_removed:
        return True
    # A cancelled job may have been waiting for a moderator.
    unseen = job.state in {JobState.AWAITING, JobState.CANCELLED} or job.failure_reason in _UNSEEN
    return job.submitted_at is None and unseen


_UNSEEN = {FailureReason.DECLINED, FailureReason.EXPIRED, FailureReason.UNDELIVERABLE, FailureReason.ABANDONED}
"""Failures that a job can have before a moderator approved it."""


def _failed(job: Job, quote_max: int) -> str:
    return f"{_how_it_ended(job, quote_max)} {_what_it_means(job)}"


def _how_it_ended(job: Job, quote_max: int) -> str:
    match job.failure_reason:
        case FailureReason.DECLINED:
            return "a moderator declined your video."
        case FailureReason.EXPIRED:
            return "your video expired: no moderator answered within a day."
        case FailureReason.REJECTED:
            return f"your video can't be made. {failure_detail(job.failure_detail, quote_max, job.failure_reason)}"
        case _:
            detail = failure_detail(job.failure_detail, quote_max, job.failure_reason)
            return f"your video didn't work. {detail}"


def _what_it_means(job: Job) -> str:
    parts = ["It doesn't count against the quota."]
    if job.credit_grant_id is not None:
        parts.append("The credit is back.")
    parts.append(next_step(job.failure_detail, job.failure_reason))
    is_too_late = job.failure_detail is not None and job.failure_detail.cause is FailureCause.NOT_DELIVERED
    is_linked = job.result_url is not None and link("Your video", job.result_url) is not None
    if job.failure_reason is FailureReason.UNDELIVERABLE and is_linked and not is_too_late:
        parts.append("`/videos list` links to it for as long as the video service keeps it.")
    return " ".join(parts)


def sent_video(job: Job, *, chosen: bool = False) -> str:
    """The text above a finished video that is sent to its member alone. chosen: because they want that."""
    ready = _AS_CHOSEN if chosen or not job.has_channel else f"{_NOT_THERE} Here it is."
    return f"{ready}\n{_prompt_and_options(job)}"


def linked_video(job: Job, expires_at: datetime, *, chosen: bool = False) -> str | None:
    """A link to a finished video, for its member, and the prompt if it fits; None if no link can be shown.

    chosen: sent to them because they want that.
    """
    shown = link("Your video", job.result_url or "")
    if shown is None:
        return None
    if job.is_spoiler:
        shown = f"||{shown}||"
    ready = _AS_CHOSEN if chosen or not job.has_channel else _NOT_THERE
    text = f"{ready} It's too large to send: {shown} (the link works until {relative(expires_at)})"
    whole = f"{text}\n{_prompt_and_options(job)}"
    return whole if discord_length(whole) <= CONTENT_MAX else text


_AS_CHOSEN = "Your video is ready."
_NOT_THERE = "Your video is ready, but I couldn't post it where you asked for it."


def video(job: Job) -> str:
    """The text above a finished video: for whom, the prompt, and the options to repeat it."""
    return f"{mention(job.user_id)}, here's your video.\n{_prompt_and_options(job)}"


def _prompt_and_options(job: Job) -> str:
    options = model_texts.options(job.order)
    if job.order.seed is not None:
        options.append(f"seed {job.order.seed}")
    if not job.order.prompt_extend:
        options.append("prompt not extended")
    if job.order.watermark:
        options.append("watermark")
    return f"> {escaped(job.order.prompt, _PROMPT_MAX)}\n-# {' · '.join(options)}"


_AWAITS = (
    "A moderator has to approve your video first. Waiting is free, and after a day without an answer it expires."
)
_KEPT = f"{SERVICE_CLOSED} Your order is kept and starts when the service is back."


ELSEWHERE = (
    "I'm not a member here, so I can only answer you: your video appears here if it's ready within about ten "
    "minutes. After that, I send it to you as a direct message. I'm looking at your picture…"
)
_ELSEWHERE = (
    "appears here if it's ready within about ten minutes. After that, I'll send it to you as a direct message."
)


def announced(job: Job) -> str:
    """Says in public that a video was ordered, where the bot isn't a member; the video replaces it."""
    soon = "It appears here if it's ready within about ten minutes."
    return f"🎬 {mention(job.user_id)} asked for a video. {soon}\n{_prompt_and_options(job)}"


def _where_it_appears(settings: MemberSettings, channel: str | None) -> str:
    if channel is None:
        return "I'll send you the video as a direct message." if settings.direct else f"Your video {_ELSEWHERE}"
    if settings.direct:
        return f"I'll send you the video as a direct message; if you take none, it appears in {channel}."
    ping = ", and I'll ping you when it's ready" if settings.pings else ". I won't ping you, as you chose"
    return f"Your video will appear in {channel}{ping}."


def accepted(result: AcceptedOrder, *, here: bool = True) -> str:
    """The private answer to an accepted order. here: whether it was asked for in its channel."""
    channel = _channel(result.job, here=here)
    lines = [_accepted_together(result, channel) if result.others else _accepted(result, channel)]
    if (paid := sum(job.credit_grant_id is not None for job in result.jobs)) and result.others:
        lines.append(f"You've used all your videos for now, so {several(paid, 'credit')} paid for the rest.")
    elif paid:
        lines.append("You've used all your videos for now, so this one takes a credit.")
    elif (
        result.allowance is not None and (left := result.allowance.usage.left(result.allowance.limits)) is not None
    ):
        limits = result.allowance.limits
        window = window_text(limits.window)
        lines.append(f"You have **{left} of {limits.videos_per_window.value}** videos left in {window}.")
    if result.changes:
        lines.append(picture_changes(result.changes))
    return "\n".join(lines)


def _channel(job: Job, *, here: bool) -> str | None:
    """How the job's channel is called; None where the bot isn't a member."""
    if not job.has_channel:
        return None
    return "this channel" if here else f"<#{job.channel_id}>"


def _accepted(result: AcceptedOrder, channel: str | None) -> str:
    waits = _KEPT if result.service_closed else ""
    if result.job.state is JobState.AWAITING:
        waits = _AWAITS
    return " ".join(filter(None, ("Got it!", waits, _where_it_appears(result.settings, channel))))


def _accepted_together(result: AcceptedOrder, channel: str | None) -> str:
    videos = several(len(result.jobs), "variation")
    where = _where_they_appear(result.settings, channel)
    if result.job.state is JobState.AWAITING:
        return (
            f"Got it! A moderator has to approve your {videos} first. Waiting is free, and after a day without an "
            f"answer they expire. {where}"
        )
    if result.service_closed:
        return f"Got it! {SERVICE_CLOSED} Your {videos} are kept and start when the service is back. {where}"
    return f"Got it! {videos} are on their way. {where}"


def _where_they_appear(settings: MemberSettings, channel: str | None) -> str:
    if channel is None:
        return "I'll send you each as a direct message." if settings.direct else f"Each {_ELSEWHERE}"
    if settings.direct:
        return f"I'll send you each as a direct message; if you take none, they appear in {channel}."
    ping = ", and I'll ping you for the first" if settings.pings else ". I won't ping you, as you chose"
    return f"Each appears in {channel} as soon as it's ready{ping}."


def quota(result: Allowance) -> str:
    """A member's limits and usage, who set each limit, and when more is available."""
    return _quota(result) if result.refusal is None else f"🛑 {text_of(result.refusal)}\n{_quota(result)}"


def _quota(result: Allowance) -> str:
    limits, usage = result.limits, result.usage
    if limits.exempt:
        return (
            "You manage me in this server, so its limits for members don't apply to you. "
            "Limits for the whole server and the operator's budgets still do.\n"
            f"You've made **{several(len(usage.charged_at), 'video')}** in the last {window_text(limits.window)}, "
            f"and **{usage.running}** {'is' if usage.running == 1 else 'are'} in progress."
        )
    limit = limits.videos_per_window.value
    used = f"**{len(usage.charged_at)} of {limit}** videos in the last {window_text(limits.window)}"
    lines = [
        f"You've used {used} ({origin(limits.videos_per_window)}).",
        f"In progress: **{usage.running} of {limits.max_active.value}** ({origin(limits.max_active)}).",
    ]
    if limits.cooldown_s.value:
        pause = show_duration(timedelta(seconds=limits.cooldown_s.value))
        ends_at = usage.cooldown_ends_at(limits, result.at)
        again = "" if ends_at is None else f" You can ask again {relative(ends_at)}."
        lines.append(f"You need to wait {pause} between videos ({origin(limits.cooldown_s)}).{again}")
    if (available_at := usage.next_available_at(limits)) is not None:
        lines.append(f"Your next video unlocks {relative(available_at)}.")
    elif not limits.videos_per_window.value:
        lines.append("Your limit is 0 videos. Server admins can change this.")
    if usage.credits:
        lines.append(_credits(usage.credits))
    return "\n".join(lines)


def quota_described(result: Allowance) -> str:
    """The picture of a quota in words, for those who can't see it. Alt text shows no markdown."""
    limits, usage = result.limits, result.usage
    left, limit = usage.left(limits), limits.videos_per_window.value
    unlocks_at = usage.next_available_at(limits)
    when = "" if unlocks_at is None else f" The next one unlocks at {unlocks_at:%Y-%m-%d %H:%M} UTC."
    return f"{left} of {limit} videos left in {window_text(limits.window)}.{when}"


def origin(limit: Limit, member: str = "you") -> str:
    """Who set the limit. member: how the reader calls the member."""
    match limit.origin:
        case Origin.MEMBER:
            return f"set for {member}"
        case Origin.ROLE:
            return f"from <@&{limit.role_id}>"
        case Origin.SERVER:
            return "set by this server"
        case Origin.OPERATOR:
            return "default"


def _credits(grants: Sequence[Credit]) -> str:
    """What is left of the member's grants, the first to expire first, as many as fit a message."""
    total = sum(grant.left for grant in grants)
    parts = [f"{grant.left} {_expiry(grant)}" for grant in grants[:_GRANTS_MAX]]
    more = ", …" if len(grants) > _GRANTS_MAX else ""
    return f"Plus **{several(total, 'credit')}**, used once those run out: {', '.join(parts)}{more}."


def _expiry(grant: Credit) -> str:
    return "without an expiry date" if grant.expires_at is None else f"expiring {relative(grant.expires_at)}"


STAGES = {
    JobState.AWAITING: "🛂 waiting for a moderator",
    JobState.QUEUED: "⏳ queued",
    JobState.SUBMITTING: "📤 starting",
    JobState.RUNNING: "🎞️ being made",
    JobState.DELIVERING: "📬 being posted",
    JobState.DELIVERED: "✅ ready",
    JobState.FAILED: "❌ failed",
    JobState.CANCELLED: "🚫 cancelled",
}

REMOVED = "Removed."
DELETED = "Deleted, and so are its picture and the link to it."
_CHECK_FIRST = "Check `/videos list` before you try again: your order may have gone through."
STOPPING = "I'm just restarting, so nothing was done. Please try again in a minute."
INTERRUPTED = f"I had to restart while I was working on this. {_CHECK_FIRST}"
UNSURE = f"Discord had a hiccup while I was answering. {_CHECK_FIRST}"
BROKEN = f"Something broke on my side. The operator can look it up as **{{reference}}**. {_CHECK_FIRST}"
"""Asks to check first: the work may be done already, and would be paid for twice."""
