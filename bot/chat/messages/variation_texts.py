"""The words on the one card of variations, and the answers about them. Pure."""

from collections.abc import Mapping

from bot.chat.messages.cancellation_texts import counts_in_short
from bot.chat.messages.markdown import escaped, mention, relative, several
from bot.chat.messages.member_texts import video_link
from bot.chat.messages.quote_texts import each
from bot.chat.messages.reason_texts import text_of
from bot.chat.messages.status_texts import CARD_PROMPT_MAX, SERVICE_CLOSED, bar_of, color
from bot.domain.approvals import APPROVAL_TIMEOUT
from bot.domain.durations import window_text
from bot.domain.jobs import FailureReason, Job, JobState
from bot.domain.limits import Allowance
from bot.domain.quotes import Quote
from bot.domain.status_cards import StatusCard, VariationsCard

_STAGES = {
    JobState.AWAITING: "🛂 waiting for a moderator",
    JobState.QUEUED: "⏳ in the queue",
    JobState.SUBMITTING: "📤 starting",
    JobState.RUNNING: "🎞️ being made",
    JobState.DELIVERING: "📬 being posted",
    JobState.CANCELLED: "🚫 cancelled",
}

FAILURES: Mapping[FailureReason, str] = {
    FailureReason.REFUSED: "the video service refused it",
    FailureReason.REJECTED: "the video service's moderation rejected it",
    FailureReason.OUTCOME_UNKNOWN: "the video service's answer was lost",
    FailureReason.UPSTREAM_FAILED: "the video service couldn't make it",
    FailureReason.TIMED_OUT: "it took too long",
    FailureReason.RESULT_UNUSABLE: "there's no video I could post",
    FailureReason.UNDELIVERABLE: "it couldn't be posted",
    FailureReason.ABANDONED: "something kept failing on my side",
    FailureReason.DECLINED: "a moderator declined it",
    FailureReason.EXPIRED: "no moderator answered",
    FailureReason.LOST: "the video service has no trace of it",
}
"""Why a variation failed, in a few words; the message about its failure says more."""

_FURTHEST_FIRST = (
    JobState.DELIVERING,
    JobState.RUNNING,
    JobState.SUBMITTING,
    JobState.QUEUED,
    JobState.AWAITING,
)


def card_color(card: VariationsCard) -> int | None:
    """The card's accent color, as 0xRRGGBB: that of the variation that is furthest on its way."""
    active = [one for one in card.cards if one.state in _FURTHEST_FIRST]
    return color(min(active, key=lambda one: _FURTHEST_FIRST.index(one.state))) if active else None


def card_heading(card: VariationsCard) -> str:
    """What the card says beside its picture: what was ordered."""
    first = card.jobs[0]
    lines = [f"### 🎲 {several(len(card.jobs), 'variation')}", f"Videos for {mention(first.user_id)}"]
    # What a moderator may not have approved, or somebody removed with a video, isn't shown.
    if not any(job.is_removed or job.state is JobState.AWAITING for job in card.jobs):
        lines.append(f"> {escaped(first.order.prompt, CARD_PROMPT_MAX)}")
    return "\n".join(lines)


def card_text(card: VariationsCard) -> str:
    """What the card says under that: how far each of them is."""
    lines = [
        f"**{number}.** {' · '.join(_line(job, one))}"
        for number, (job, one) in enumerate(zip(card.jobs, card.cards, strict=True), 1)
    ]
    if any(one.is_held_up for one in card.cards):
        lines.append(f"{SERVICE_CLOSED} They are kept and start when the service is back.")
    if any(one.state is JobState.AWAITING for one in card.cards):
        expiry = relative(card.jobs[0].created_at + APPROVAL_TIMEOUT)
        lines.append(f"Waiting is free. Without an answer they expire {expiry}.")
    return "\n".join(lines)


def _line(job: Job, card: StatusCard) -> list[str]:
    """What the card says about one of them."""
    match card.state:
        case JobState.DELIVERED:
            address = video_link(job)
            return ["🗑️ removed" if job.is_removed or address is None else f"✅ [ready]({address})"]
        case JobState.FAILED:
            why = FAILURES.get(job.failure_reason or FailureReason.ABANDONED)
            return [f"❌ {why}", "doesn't count"]
        case _ if card.is_cancelled or card.state is JobState.CANCELLED:
            return [_STAGES[JobState.CANCELLED], counts_in_short(job)]
        case _ if card.is_held_up:
            return ["⏸️ waiting for the video service"]
    said = [_STAGES[card.state]]
    wait = card.wait
    if card.state is JobState.QUEUED and wait.ahead is not None:
        said.append(f"**{several(wait.ahead, 'video')}** before it" if wait.ahead else "next in line")
    if card.state in {JobState.QUEUED, JobState.SUBMITTING, JobState.RUNNING}:
        if wait.is_unusual:
            said.append("takes longer than usual")
        elif wait.late_at is not None:
            said.append(f"ready {relative(wait.likely_at or wait.late_at)}")
    if card.state is JobState.RUNNING and card.bar is not None:
        said.append(bar_of(card.bar))
    return said


def how_many(allowance: Allowance, quote: Quote | None = None) -> str:
    """Asks how many variations of a video to make, and says what the member has left.

    quote: of one video, for who may see what it costs.
    """
    lines = ["How many variations of this video? Each has another seed, and each counts."]
    limits, usage = allowance.limits, allowance.usage
    if allowance.refusal is not None:
        lines.append(f"🛑 {text_of(allowance.refusal)}")
    elif (left := usage.left(limits)) is not None:
        credits_left = sum(credit.left for credit in usage.credits)
        also = f" and {several(credits_left, 'credit')}" if credits_left else ""
        window = window_text(limits.window)
        lines.append(f"You have **{left} of {limits.videos_per_window.value}** videos left in {window}{also}.")
        lines.append(f"In progress: **{usage.running} of {limits.max_active.value}** at a time.")
    if quote is not None:
        lines.append(each(quote))
    return "\n".join(lines)
