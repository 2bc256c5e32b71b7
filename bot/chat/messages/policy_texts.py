"""What admins read about rules, words and bans.

Pure: what was set comes in, Discord's markdown goes out. Foreign text is escaped. Lists may be longer than a
message: each has a plain text for the file that then comes with it.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from bot.chat.messages.admin_texts import changed
from bot.chat.messages.markdown import escaped, fitting, mention, one_line, relative, several
from bot.chat.messages.member_texts import CHOICE_MAX
from bot.chat.messages.policy_refusal_texts import ban_reason
from bot.domain.blocked_terms import handle
from bot.domain.guilds import Ban, BlockedTerm, Change, PolicyEntry, PolicyEntryKind
from bot.services.admin.bans import Banned
from bot.services.admin.policy import WordsAdded, shown_word

_NAMES_ROOM = 600
_REASON_ROOM = 120

Names = Callable[[int], str | None]
"""The name of a channel or role by its id; None where Discord doesn't know it any more."""


def place_changed(change: Change, place: PolicyEntry) -> str:
    """The answer to a channel or role that was allowed or denied, with what that means for all others."""
    text = changed(change)
    if place.allowed:
        text += f"\nOnly allowed {place.kind.value}s are in now, and a deny beats an allow."
    return text


def approval(change: Change) -> str:
    """The answer to the approval queue being switched."""
    text = changed(change)
    if change.before != change.after and change.after == "off":
        text += "\nWhat waits for a moderator already still does."
    return text


def places(kind: PolicyEntryKind, said: Sequence[PolicyEntry], name_of: Names) -> str:
    """The channels or roles that are allowed or denied, and what that means."""
    many = f"{kind.value}s"
    if not said:
        return f"No {many} are allowed or denied: videos are made {_everywhere(kind)}."
    lines = []
    for allowed, title in ((True, "✅ Allowed"), (False, "🚫 Denied")):
        shown = [_place(place, name_of) for place in said if place.allowed is allowed]
        if shown:
            lines.append(f"**{title}**: {', '.join(shown)}")
    if any(place.allowed for place in said):
        lines.append(f"All other {many} are out. A deny beats an allow.")
    else:
        lines.append(f"All other {many} are in.")
    if kind is PolicyEntryKind.CHANNEL:
        lines.append("A category stands for its channels, a channel for its threads.")
    return "\n".join(lines)


def _everywhere(kind: PolicyEntryKind) -> str:
    return "in every channel" if kind is PolicyEntryKind.CHANNEL else "by everybody"


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
    text = changed(result.change)
    if result.known:
        names = fitting(", ".join(one_line(word.text) for word in result.known), _NAMES_ROOM, escaped)
        text += f"\nBlocked already: {names}"
    return text


def words(blocked: Sequence[BlockedTerm], strikes: str) -> str:
    """All that is blocked. strikes: when that pauses a member, in words."""
    if not blocked:
        return "No words are blocked. `/video-admin words add` blocks some, several at once with commas."
    plain, patterns = _sorted(blocked)
    lines = [
        f"**{several(len(plain), 'word')} and {several(len(patterns), 'pattern')}** are blocked in prompts.",
        f"-# Blocked prompts pause a member: {strikes}.",
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
    return handle(word)


def banned(result: Banned) -> str:
    """The answer to a ban, with what it leaves alone."""
    lines = [changed(result.change), "They are told the reason when they ask for a video."]
    if result.under_way:
        lines.append(
            f"{several(result.under_way, 'video')} of theirs, ordered before, will still be made. "
            "`/video-admin jobs cancel` can cancel what you don't want."
        )
    return "\n".join(lines)


def bans(standing: Sequence[Ban]) -> str:
    """Who is banned, until when, why and by whom."""
    if not standing:
        return "Nobody is banned from the bot in this server."
    head = f"**{several(len(standing), 'member')}** may make no videos here:"
    return "\n".join([head, *map(_ban, standing)])


def bans_file(standing: Sequence[Ban]) -> str:
    """The same as a plain text, with ids and exact times."""
    return "".join(f"{_ban_in_file(ban)}\n" for ban in standing)


def _ban(ban: Ban) -> str:
    until = "for good" if ban.until is None else f"ends {relative(ban.until)}"
    by = "by the bot" if ban.by is None else f"by {mention(ban.by)}"
    return f"- {mention(ban.user_id)} {until}, {by}: {escaped(ban_reason(ban), _REASON_ROOM)}"


def _ban_in_file(ban: Ban) -> str:
    until = "for good" if ban.until is None else f"until {_utc(ban.until)}"
    by = "the bot" if ban.by is None else str(ban.by)
    return f"{ban.user_id}\t{until}\tby {by}, {_utc(ban.at)}\t{one_line(ban_reason(ban))}"


def _choice(text: str) -> str:
    """Choices show text as it is: no markdown works in them."""
    return fitting(one_line(text), CHOICE_MAX - 1, str)


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
