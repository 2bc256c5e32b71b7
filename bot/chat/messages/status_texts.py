"""The words on a status card: what a job in progress waits for, and when its video will be ready. Pure."""

from datetime import timedelta

from bot.chat.messages.cancellation_texts import on_card
from bot.chat.messages.markdown import escaped, mention, relative, several
from bot.domain.approvals import APPROVAL_TIMEOUT
from bot.domain.guilds import OUTSIDE_SERVERS
from bot.domain.jobs import Job, JobState
from bot.domain.status_cards import BAR_STEPS, StatusCard

CARD_PROMPT_MAX = 300
"""The most of a prompt on a card, in characters; it stands in full above the video."""

SERVICE_CLOSED = "The video service isn't taking orders right now."

_GRAY, _YELLOW, _BLURPLE, _GREEN = 0x80848E, 0xF0B232, 0x5865F2, 0x23A55A

_HEADINGS = {
    JobState.AWAITING: ("🛂 Waiting for a moderator", _YELLOW),
    JobState.QUEUED: ("⏳ In the queue", _GRAY),
    JobState.SUBMITTING: ("📤 Starting", _BLURPLE),
    JobState.RUNNING: ("🎞️ Being made", _BLURPLE),
    JobState.DELIVERING: ("📬 Being posted", _GREEN),
}
_HELD_UP = ("⏸️ Waiting for the video service", _YELLOW)
_CANCELLED = ("🚫 Cancelled", _GRAY)


def color(card: StatusCard) -> int:
    """The card's accent color, as 0xRRGGBB."""
    return _heading(card)[1]


def _heading(card: StatusCard) -> tuple[str, int]:
    if card.is_cancelled:
        return _CANCELLED
    return _HELD_UP if card.is_held_up else _HEADINGS[card.state]


def card_text(job: Job, card: StatusCard) -> str:
    """What the card says above its button."""
    lines = [f"### {_heading(card)[0]}", f"A video for {mention(job.user_id)}{_from_where(card)}"]
    if (
        job.submitted_at is not None or card.state is not JobState.AWAITING
    ):  # what a moderator may not have approved
        lines.append(f"> {escaped(job.order.prompt, CARD_PROMPT_MAX)}")
    lines += _what_it_waits_for(job, card)
    if card.bar is not None:
        lines.append(bar_of(card.bar))
    return "\n".join(lines)


def bar_of(filled: int) -> str:
    """A bar with so many of its steps filled."""
    return "▰" * filled + "▱" * (BAR_STEPS - filled)


def _from_where(card: StatusCard) -> str:
    if card.parent is None:
        return ""
    server = "@me" if card.parent.guild_id == OUTSIDE_SERVERS else card.parent.guild_id
    where = f"{server}/{card.parent.channel_id}/{card.parent.message_id}"
    return f", going on from https://discord.com/channels/{where}"


def _what_it_waits_for(job: Job, card: StatusCard) -> list[str]:
    if card.is_cancelled:
        return [on_card(job)]
    if card.is_held_up:
        return [f"{SERVICE_CLOSED} This one is kept and starts when the service is back."]
    match card.state:
        case JobState.AWAITING:
            expiry = relative(job.created_at + APPROVAL_TIMEOUT)
            return [f"Waiting is free. Without an answer it expires {expiry}."]
        case JobState.DELIVERING:
            return []
        case _:
            return [*_place(card), _time(card)]


def _place(card: StatusCard) -> list[str]:
    ahead = card.wait.ahead
    if ahead is None:
        return []
    return [f"**{several(ahead, 'video')}** before it." if ahead else "It's next in line."]


def _time(card: StatusCard) -> str:
    likely_at, late_at = card.wait.likely_at, card.wait.late_at
    if card.wait.is_unusual:
        return "It takes longer than usual. It's still being made, and I keep checking."
    if likely_at is None or late_at is None:
        return "I can't tell yet when it's ready: I haven't seen enough videos being made lately."
    spread = late_at - likely_at
    if spread < timedelta(seconds=10):
        return f"Ready {relative(late_at)}."
    return f"Ready {relative(likely_at)}, or {_about(spread)} later if it's a slow one."


def _about(span: timedelta) -> str:
    """A span in round numbers. Two of Discord's relative times might both read "in 2 minutes"."""
    seconds = span.total_seconds()
    if seconds < 55:  # noqa: PLR2004 - rounds to a minute from there on
        return several(10 * round(seconds / 10), "second")
    return several(max(1, round(seconds / 60)), "minute")
