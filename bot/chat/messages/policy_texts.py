"""What admins read about rules, words and bans.

Pure: what was set comes in, Discord's markdown goes out. Foreign text is escaped. Lists may be longer than a
message: each has a plain text for the file that then comes with it.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from bot.chat.messages.audit_texts import answer, shown_word
from bot.chat.messages.markdown import CHOICE_MAX, escaped, fitting, mention, one_line, relative, several
from bot.chat.messages.policy_refusal_texts import ban_reason
from bot.chat.messages.reason_texts import text_of
from bot.domain.audit_log import AuditEntry
from bot.domain.blocked_terms import choice_value
from bot.domain.guilds import Ban, BlockedTerm, PolicyEntry, PolicyEntryKind
from bot.services.admin.bans import Banned, BanTooShort, NotBanned
from bot.services.admin.policy import (
    CannotSetRule,
    PatternsTooSlow,
    PlaceNotSet,
    RuleProblem,
    StrikePauseOutOfBounds,
    StrikesOutOfBounds,
    TooManyPatterns,
    TooManyPlaces,
    TooManyTerms,
    WordsAdded,
)

_NAMES_ROOM = 600
_REASON_ROOM = 120

Names = Callable[[int], str | None]
"""The name of a channel or role by its id; None where Discord doesn't know it any more."""


def place_changed(entry: AuditEntry, place: PolicyEntry) -> str:
    """The answer to a channel or role that was allowed or denied, with what that means for all others."""
    text = answer(entry)
    if place.allowed and place.kind is PolicyEntryKind.CHANNEL:
        text += "\nVideos can now be made only in allowed channels. A denied channel stays denied."
    elif place.allowed:
        text += "\nNow only members with an allowed role can make videos. A denied role stays denied."
    return text


def approval(entry: AuditEntry, *, needed: bool) -> str:
    """The answer to the approval queue being switched."""
    text = answer(entry)
    if needed:
        return f"{text}\nA moderator has to approve each new video, in the log channel."
    if entry.change.is_change:
        text += "\nVideos that are already waiting for a moderator still need an answer."
    return text


def places(kind: PolicyEntryKind, said: Sequence[PolicyEntry], name_of: Names) -> str:
    """The channels or roles that are allowed or denied, and what that means."""
    many = f"{kind.value}s"
    if not said:
        return f"No {many} are allowed or denied: {_everywhere(kind)}."
    lines = []
    for allowed, title in ((True, "✅ Allowed"), (False, "🚫 Denied")):
        shown = [_place(place, name_of) for place in said if place.allowed is allowed]
        if shown:
            lines.append(f"**{title}**: {', '.join(shown)}")
    if any(place.allowed for place in said):
        lines.append(f"All other {many} are denied. If a deny and an allow both apply, the deny wins.")
    else:
        lines.append(f"All other {many} are allowed.")
    if kind is PolicyEntryKind.CHANNEL:
        lines.append("A category includes its channels, and a channel its threads.")
    return "\n".join(lines)


def _everywhere(kind: PolicyEntryKind) -> str:
    return "videos can be made in every channel" if kind is PolicyEntryKind.CHANNEL else "everyone can make videos"


def _place(place: PolicyEntry, name_of: Names) -> str:
    if name_of(place.target_id) is None:
        return f"`{place.target_id}` (deleted)"
    return f"<#{place.target_id}>" if place.kind is PolicyEntryKind.CHANNEL else f"<@&{place.target_id}>"


def place_choice(place: PolicyEntry, name_of: Names) -> str:
    """A channel or role in a list of choices."""
    state = "allowed" if place.allowed else "denied"
    name = name_of(place.target_id)
    if name is None:
        return f"deleted {place.kind.value} {place.target_id} ({state})"
    sign = "#" if place.kind is PolicyEntryKind.CHANNEL else "@"
    return _choice(f"({state}) {sign}{name}")


def words_added(result: WordsAdded) -> str:
    """The answer to words that were to be blocked."""
    text = answer(result.entry)
    if result.known:
        names = fitting(", ".join(one_line(word.text) for word in result.known), _NAMES_ROOM, escaped)
        text += f"\nAlready blocked: {names}"
    return text


def words(blocked: Sequence[BlockedTerm], strikes: str) -> str:
    """Everything that is blocked. strikes: when that pauses a member, in words."""
    if not blocked:
        return "No words are blocked. Add some with `/video-admin words add`, separated by commas."
    plain, patterns = _sorted(blocked)
    lines = [
        f"**{several(len(plain), 'word')} and {several(len(patterns), 'pattern')}** blocked in prompts",
        f"-# Pause for blocked prompts: {strikes}.",
    ]
    if plain:
        lines.append(", ".join(escaped(word.text) for word in plain))
    return "\n".join([*lines, *(f"pattern {escaped(word.text)}" for word in patterns)])


def words_file(blocked: Sequence[BlockedTerm]) -> str:
    """All that is blocked as a plain text, one on each line."""
    plain, patterns = _sorted(blocked)
    return "".join(f"{one_line(shown_word(word))}\n" for word in [*plain, *patterns])


def _sorted(blocked: Sequence[BlockedTerm]) -> tuple[list[BlockedTerm], list[BlockedTerm]]:
    return [word for word in blocked if not word.is_pattern], [word for word in blocked if word.is_pattern]


def word_choice(word: BlockedTerm) -> str:
    """A word or pattern in a list of choices."""
    return _choice(shown_word(word))


def word_value(word: BlockedTerm) -> str:
    """What stands for it behind the choice."""
    return choice_value(word)


def banned(result: Banned) -> str:
    """The answer to a ban, with what it leaves alone."""
    lines = [answer(result.entry), "They see the reason when they ask for a video."]
    if result.under_way:
        lines.append(
            f"{several(result.under_way, 'video')} they already ordered will still be made. Use "
            "`/video-admin jobs cancel` if you don't want that."
        )
    return "\n".join(lines)


def bans(standing: Sequence[Ban]) -> str:
    """Who is banned, until when, why and by whom."""
    if not standing:
        return "Nobody is banned from making videos in this server."
    head = f"**{several(len(standing), 'member')}** banned from making videos here:"
    return "\n".join([head, *map(_ban, standing)])


def bans_file(standing: Sequence[Ban]) -> str:
    """The same as a plain text, with ids and exact times."""
    return "".join(f"{_ban_in_file(ban)}\n" for ban in standing)


def _ban(ban: Ban) -> str:
    until = "permanently" if ban.expires_at is None else f"ends {relative(ban.expires_at)}"
    by = "by the bot" if ban.actor_id is None else f"by {mention(ban.actor_id)}"
    return f"- {mention(ban.user_id)} {until}, {by}: {escaped(ban_reason(ban), _REASON_ROOM)}"


def _ban_in_file(ban: Ban) -> str:
    until = "permanent" if ban.expires_at is None else f"until {_utc(ban.expires_at)}"
    by = "the bot" if ban.actor_id is None else str(ban.actor_id)
    return f"{ban.user_id}\t{until}\tby {by}, {_utc(ban.created_at)}\t{one_line(ban_reason(ban))}"


def _choice(text: str) -> str:
    """Choices show text as it is: no markdown works in them."""
    return fitting(one_line(text), CHOICE_MAX - 1, str)


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


@text_of.register
def _(_reason: BanTooShort) -> str:
    return "A ban has to last some time. Leave `expires` out for a permanent one."


@text_of.register
def _(_reason: NotBanned) -> str:
    return "That member isn't banned from making videos here. `/video-admin bans` shows who is."


_RULE_PROBLEMS = {
    RuleProblem.EVERYONE_IS_NO_ROLE: (
        "You can't allow or deny @everyone. To stop everyone, use `/video-admin pause`. As soon as you allow one "
        "role, members without it can't make videos."
    ),
    RuleProblem.TERM_NOT_BLOCKED: "That isn't blocked. `/video-admin words show` lists what is.",
    RuleProblem.NO_RESOLUTION_LEFT: (
        "At least one resolution must stay allowed. `/video-admin pause` stops all videos."
    ),
    RuleProblem.NO_LOG_CHANNEL: (
        "Moderators get their questions in the log channel, and there isn't one yet. Set it with "
        "`/video-admin log channel`, then try again."
    ),
}


@text_of.register
def _(reason: CannotSetRule) -> str:
    return _RULE_PROBLEMS[reason.problem]


@text_of.register
def _(reason: TooManyPlaces) -> str:
    many = f"{reason.kind.value}s"
    return (
        f"You already allow or deny {reason.most} {many}, and that's the maximum. `/video-admin {many} forget` "
        "makes room."
    )


@text_of.register
def _(reason: PlaceNotSet) -> str:
    kind = reason.kind.value
    return f"That {kind} is neither allowed nor denied. `/video-admin {kind}s show` lists those that are."


@text_of.register
def _(reason: TooManyTerms) -> str:
    return (
        f"That would make {reason.count} blocked words, and the maximum is {reason.most}. Nothing was added. "
        "`/video-admin words remove` makes room."
    )


@text_of.register
def _(reason: TooManyPatterns) -> str:
    return (
        f"A server can block at most {reason.most} patterns. Nothing was added. One pattern can cover several "
        "things: `this|that`."
    )


@text_of.register
def _(reason: PatternsTooSlow) -> str:
    return (
        f"With that one, this server's patterns would be too slow to search for: {reason.steps:,} steps, and the "
        f"maximum is {reason.most:,}. Nothing was added. Use smaller repetition counts, or make room with "
        "`/video-admin words remove`."
    )


@text_of.register
def _(reason: StrikesOutOfBounds) -> str:
    return f"Choose 0 (never) to {reason.most} blocked prompts. Nothing was changed."


@text_of.register
def _(reason: StrikePauseOutOfBounds) -> str:
    return f"The pause must last 1 to {reason.most_hours} hours. Nothing was changed."
