"""The text for each kind of `Reason`, registered in the module of its subject; here those that have no other.

This package imports all modules that register texts, so every reason has one whatever is imported first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch

from bot.chat.messages.markdown import escaped, mention, relative
from bot.domain.approvals import AlreadyDecided, ApprovalProblem
from bot.domain.durations import DURATION_MAX
from bot.domain.errors import Problem, Reason, Remedy
from bot.domain.money import USD_MAX, show_usd
from bot.domain.orders import SEED_MAX, DurationNotMade, ModelNotOffered, ResolutionNotMade, TextTooLong
from bot.domain.terms import PATTERN_CHARS_MAX, WORD_CHARS_MAX, TermProblem, UnusableTerm
from bot.domain.variations import VARIATIONS_MAX

FREE = "Nothing was charged."
"""Ends every refusal of an order."""

_TERM_MAX = 60
_QUOTE_MAX = 300

_PROBLEMS: Mapping[Problem, str] = {
    Problem.PROMPT_EMPTY: "Your prompt is empty. Describe in a few words what should happen in the video.",
    Problem.SEED_OUT_OF_RANGE: f"The seed has to be a whole number from 0 to {SEED_MAX}.",
    Problem.VARIATIONS_OUT_OF_RANGE: f"You can ask for up to {VARIATIONS_MAX} variations at once.",
    Problem.DURATION_UNREADABLE: (
        "I can't read that as a length of time. Write a number and a unit, such as `30s`, `10m`, `12h`, `7d`, "
        "`2w` or `1d 12h`. Nothing was changed."
    ),
    Problem.DURATION_TOO_LONG: (f"That's too long: choose at most {DURATION_MAX.days} days. Nothing was changed."),
    Problem.AMOUNT_UNREADABLE: (
        "I can't read that as an amount in USD. Write it like `5` or `2.50`, without a comma or a minus sign."
    ),
    Problem.AMOUNT_TOO_LARGE: f"That's more than you can set: the maximum is {show_usd(USD_MAX)}.",
    Problem.ORDER_NOT_STORED: (
        "I can't save anything right now, so your order was **not** placed and nothing is charged. "
        "Please try again in a few minutes."
    ),
    Problem.NOT_YOUR_VIDEO: "That isn't one of your videos. `/videos list` shows them.",
    Problem.VIDEO_NOT_KNOWN: (
        "I don't know that video any more, or it isn't from this channel. You can make one like it with "
        "`/animate`: use its prompt and the picture."
    ),
    Problem.PICTURE_NOT_KEPT: (
        "I don't have that video's picture any more, so I can't make it again. Use `/animate` with the picture "
        "and the video's prompt. Nothing was charged."
    ),
    Problem.VIDEO_ENDED: "That video has already ended, so there's nothing left to cancel.",
}
_APPROVAL_PROBLEMS: Mapping[ApprovalProblem, str] = {
    ApprovalProblem.UNKNOWN: (
        "I can't find that video in this server. `/video-admin jobs show` lists the current ones."
    ),
    ApprovalProblem.EXPIRED: "That video waited for more than a day and has expired. The member can ask again.",
    ApprovalProblem.CANCELLED: "That video was cancelled, so there's nothing left to decide.",
    ApprovalProblem.NOT_WAITING: "That video isn't waiting for a moderator any more: there's nothing to decide.",
    ApprovalProblem.QUEUE_FULL: (
        "The bot's queue is full right now. The video is still waiting for you, so please approve it in a few "
        "minutes."
    ),
}
_TERM_PROBLEMS: Mapping[TermProblem, str] = {
    TermProblem.WORD_TOO_LONG: (
        f"“{{term}}” is too long: a word or phrase can have up to {WORD_CHARS_MAX} characters. Please shorten it."
    ),
    TermProblem.NO_WORD: (
        "There's no word in {named}. I look for letters, digits and emoji, so please write some."
    ),
    TermProblem.PUNCTUATION_AT_THE_ENDS: (
        "“{term}” starts or ends with punctuation, which I ignore in words. "
        "Leave it out, or add it with `pattern: True`."
    ),
    TermProblem.PATTERN_LENGTH: (
        f"Please write a pattern of 1 to {PATTERN_CHARS_MAX} characters; this one has {{length}}."
    ),
    TermProblem.PATTERN_INVALID: (
        "I can't use that pattern{why}. Patterns are RE2 regular expressions, "
        "which don't support look-around or back-references."
    ),
    TermProblem.PATTERN_TOO_COMPLEX: (
        "That pattern is too complex. Use smaller repeat counts, or split it into several patterns."
    ),
    TermProblem.PATTERN_MATCHES_NOTHING: (
        "That pattern also matches empty text, so it would block every prompt. Please make it narrower."
    ),
    TermProblem.PATTERN_TOO_BROAD: "That pattern would block nearly every prompt. Please make it narrower.",
}
REMEDIES: Mapping[Remedy, str] = {
    Remedy.ASK_ADMINS: "Server admins can change this.",
    Remedy.ASK_OPERATOR: "Only the bot's operator can change this.",
}


@dataclass(frozen=True, slots=True)
class Said(Reason):
    """A refusal that only the Discord side knows, with its text."""

    text: str


def refused_order(reason: Reason) -> str:
    """The reason for which an order was refused, and that it cost nothing."""
    why, *consequence = text_of(reason).split("\n", 1)
    return "\n".join([why if FREE in why else f"{why} {FREE}", *consequence])


@singledispatch
def text_of(reason: Reason) -> str:
    """The reason as the person reads it: what happened, why, and what they can do. Discord markdown."""
    raise TypeError(f"no text for {type(reason).__name__}")


text_of.register(Problem, _PROBLEMS.__getitem__)
text_of.register(ApprovalProblem, _APPROVAL_PROBLEMS.__getitem__)


@text_of.register
def _(reason: Said) -> str:
    return reason.text


@text_of.register
def _(reason: TextTooLong) -> str:
    option = reason.option.replace("_", " ")
    return (
        f"Your {option} is {reason.length} characters long, but the model reads at most {reason.maximum}. "
        "Please shorten it and try again."
    )


@text_of.register
def _(reason: ModelNotOffered) -> str:
    return (
        f"{escaped(reason.title, _TERM_MAX)}, the model that this needs, isn't offered any more. "
        f"`/animate` makes a new video with {' or '.join(reason.offered)}."
    )


@text_of.register
def _(reason: ResolutionNotMade) -> str:
    return (
        f"{reason.title} makes videos in {' or '.join(reason.possible)}. Please choose that as the `resolution`."
    )


@text_of.register
def _(reason: DurationNotMade) -> str:
    possible = " or ".join(str(duration_s) for duration_s in reason.possible)
    return f"{reason.title} makes videos of {possible} seconds. Please choose that as the `duration`."


@text_of.register
def _(reason: AlreadyDecided) -> str:
    decision = reason.decision
    return (
        f"{mention(decision.moderator_id)} already {decision.verdict} that video {relative(decision.decided_at)}."
    )


@text_of.register
def _(reason: UnusableTerm) -> str:
    term = escaped(reason.term, _TERM_MAX)
    text = _TERM_PROBLEMS[reason.problem].format(
        term=term,
        named=f"“{term}”" if term else "that",
        length=len(reason.term),
        why=f": “{escaped(reason.said, _QUOTE_MAX)}”" if reason.said else "",
    )
    return f"{text} Nothing was added."
