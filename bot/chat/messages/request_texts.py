"""What is wrong with an order, a duration, an amount, a term to block or a moderator's answer."""

from bot.chat.messages.markdown import escaped, mention, relative
from bot.chat.messages.reason_texts import register_templates, text_of
from bot.domain.approvals import ApprovalProblem, CannotDecide, Verdict
from bot.domain.blocked_terms import PATTERN_CHARS_MAX, WORD_CHARS_MAX, TermProblem, UnusableTerm
from bot.domain.durations import DurationTooLong, UnreadableDuration
from bot.domain.money import AmountTooLarge, UnreadableAmount, show_usd
from bot.domain.orders import PromptEmpty, SeedOutOfRange, TextTooLong, UnknownResolution
from bot.services.videos import NotYourVideo, OrderNotStored, VideoEnded

_TERM_ROOM = 60
_SAID_ROOM = 300


register_templates(
    {
        PromptEmpty: "Your prompt is empty. Describe in a few words what should happen in the video.",
        SeedOutOfRange: "The seed has to be a whole number from 0 to {0.maximum}.",
        OrderNotStored: (
            "I can't save anything right now, so your order was **not** placed and nothing is charged. "
            "Please try again in a few minutes."
        ),
        NotYourVideo: "That isn't one of your videos. `/videos list` shows them.",
        VideoEnded: "That video has already ended, so there's nothing left to cancel.",
        UnreadableDuration: (
            "I can't read that as a length of time. Write a number and a unit, such as `30s`, `10m`, `12h`, `7d`, "
            "`2w` or `1d 12h`. Nothing was changed."
        ),
        DurationTooLong: "That's too long: the maximum is {0.maximum.days} days. Nothing was changed.",
        UnreadableAmount: (
            "I can't read that as an amount in USD. Write it like `5` or `2.50`, without a comma or a minus sign."
        ),
    }
)


@text_of.register
def _(reason: TextTooLong) -> str:
    option = reason.option.replace("_", " ")
    return (
        f"Your {option} is {reason.length} characters long, but the model reads at most {reason.maximum}. "
        "Please shorten it and try again."
    )


@text_of.register
def _(reason: UnknownResolution) -> str:
    return f"The resolution has to be {' or '.join(reason.known)}."


@text_of.register
def _(reason: AmountTooLarge) -> str:
    return f"That's more than you can set: the maximum is {show_usd(reason.maximum)}."


@text_of.register
def _(reason: CannotDecide) -> str:
    match reason.problem:
        case ApprovalProblem.UNKNOWN:
            return "I can't find that video in this server."
        case ApprovalProblem.ANSWERED if reason.decision is not None:
            did = "approved" if reason.decision.verdict is Verdict.APPROVED else "declined"
            return f"{mention(reason.decision.by)} already {did} that video {relative(reason.decision.at)}."
        case ApprovalProblem.EXPIRED:
            return "That video waited for more than a day and has expired. The member can ask again."
        case ApprovalProblem.CANCELLED:
            return "That video was cancelled, so there's nothing left to decide."
        case ApprovalProblem.QUEUE_FULL:
            return (
                "The bot's queue is full right now. The video is still waiting for you, "
                "so please approve it in a few minutes."
            )
        case _:
            return "That video isn't waiting for a moderator any more."


@text_of.register
def _(reason: UnusableTerm) -> str:
    term = escaped(reason.term, _TERM_ROOM)
    match reason.problem:
        case TermProblem.WORD_TOO_LONG:
            return f"“{term}” is too long: a word or phrase can have up to {WORD_CHARS_MAX} characters."
        case TermProblem.NO_WORD:
            return "There's no word in that. I look for letters, digits and emoji, not for punctuation."
        case TermProblem.PUNCTUATION_AT_THE_ENDS:
            return (
                f"“{term}” starts or ends with punctuation, which I ignore in words. "
                "Leave it out, or add it with `pattern: True`."
            )
        case TermProblem.PATTERN_LENGTH:
            return f"A pattern can have 1 to {PATTERN_CHARS_MAX} characters; this one has {len(reason.term)}."
        case TermProblem.PATTERN_INVALID:
            said = escaped(reason.said, _SAID_ROOM) or "it's malformed"
            return (
                f"I can't use that pattern: {said}. Patterns are RE2 regular expressions, "
                "which don't support look-around or back-references."
            )
        case TermProblem.PATTERN_TOO_COMPLEX:
            return "That pattern is too complex. Use smaller repeat counts, or split it into several patterns."
        case TermProblem.PATTERN_MATCHES_NOTHING:
            return "That pattern also matches empty text, so it would block every prompt. Please make it narrower."
        case TermProblem.PATTERN_TOO_BROAD:
            return "That pattern would block nearly every prompt. Please make it narrower."
