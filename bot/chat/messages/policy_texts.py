"""Texts for admins about the policy, blocked terms and bans. Pure: takes values, returns Discord markdown.

Foreign text is escaped. A list may not fit in a message, so each also has a plain text for an attached file.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from bot.chat.messages.audit_texts import NO_REASON, answer, ban_reason, shown_term, violation_pause
from bot.chat.messages.markdown import choice_name, escaped, exact, fitting, mention, one_line, several
from bot.domain.audit_log import AuditEntry
from bot.domain.guilds import Ban, BlockedTerm, GuildSettings, PolicyEntry, PolicyEntryKind
from bot.domain.jobs import Resolution
from bot.domain.models import Model
from bot.services.admin.bans import Banned
from bot.services.admin.policy import TermsBlocked

_NAMES_MAX = 600
_REASON_MAX = 120

Names = Callable[[int], str | None]
"""The name of a channel or role by its id; None where Discord doesn't know it any more."""


def entry_changed(change: AuditEntry, entry: PolicyEntry) -> str:
    """The reply to allowing or denying a channel or role, with what that means for all others."""
    text = answer(change)
    if entry.allowed and entry.kind is PolicyEntryKind.CHANNEL:
        text += "\nVideos can now be made only in allowed channels. A denied channel stays denied."
    elif entry.allowed:
        text += "\nNow only members with an allowed role can make videos. A denied role stays denied."
    return text


def approval(entry: AuditEntry, *, needed: bool) -> str:
    """The reply to turning approval on or off."""
    text = answer(entry)
    if needed:
        return f"{text}\nA moderator has to approve each new video, in the log channel."
    if entry.change.is_change:
        text += "\nVideos that are already waiting for a moderator still need an answer."
    return text


def resolutions(some: Sequence[Resolution]) -> str:
    """Resolutions as a choice."""
    return _and(some)


def models(some: Sequence[Model]) -> str:
    """Models as a choice."""
    return choice_name(_and([model.title for model in some]))


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def policy_entries(kind: PolicyEntryKind, said: Sequence[PolicyEntry], name_of: Names) -> str:
    """The channels or roles that are allowed or denied, and what that means."""
    many, is_channel = f"{kind.value}s", kind is PolicyEntryKind.CHANNEL
    if not said:
        every = "videos can be made in every channel" if is_channel else "everyone can make videos"
        return f"No {many} are allowed or denied: {every}."
    lines = []
    for allowed, title in ((True, "✅ Allowed"), (False, "🚫 Denied")):
        shown = [_entry(entry, name_of) for entry in said if entry.allowed is allowed]
        if shown:
            lines.append(f"**{title}**: {', '.join(shown)}")
    if any(entry.allowed for entry in said):
        lines.append(f"All other {many} are denied. If a deny and an allow both apply, the deny wins.")
    else:
        lines.append(f"All other {many} are allowed.")
    if is_channel:
        lines.append("A category includes its channels, and a channel its threads.")
    return "\n".join(lines)


def _entry(entry: PolicyEntry, name_of: Names) -> str:
    if name_of(entry.target_id) is None:
        return f"`{entry.target_id}` (deleted)"
    return f"<#{entry.target_id}>" if entry.kind is PolicyEntryKind.CHANNEL else f"<@&{entry.target_id}>"


def entry_choice(entry: PolicyEntry, name_of: Names) -> str:
    """A channel or role in a list of choices."""
    state = "allowed" if entry.allowed else "denied"
    name = name_of(entry.target_id)
    if name is None:
        return f"deleted {entry.kind.value} {entry.target_id} ({state})"
    sign = "#" if entry.kind is PolicyEntryKind.CHANNEL else "@"
    return choice_name(f"({state}) {sign}{name}")


def terms_blocked(result: TermsBlocked) -> str:
    """The reply to blocking terms."""
    text = answer(result.entry)
    if result.known:
        names = fitting(", ".join(one_line(term.text) for term in result.known), _NAMES_MAX, escaped)
        text += f"\nAlready blocked: {names}"
    return text


def blocked_terms(blocked: Sequence[BlockedTerm], settings: GuildSettings) -> str:
    """All blocked terms, and when they pause a member."""
    if not blocked:
        return "No words are blocked. Add some with `/video-admin words add`, separated by commas."
    plain, patterns = _sorted(blocked)
    pause = violation_pause(
        settings.violation_limit, settings.violation_pause_hours, refused_content=settings.refused_content_counts
    )
    lines = [
        f"**{several(len(plain), 'word')} and {several(len(patterns), 'pattern')}** blocked in prompts",
        f"-# Pause for blocked prompts: {pause}.",
    ]
    if plain:
        lines.append(", ".join(escaped(term.text) for term in plain))
    return "\n".join([*lines, *(f"pattern {escaped(term.text)}" for term in patterns)])


def terms_file(blocked: Sequence[BlockedTerm]) -> str:
    """All blocked terms as plain text, one per line."""
    plain, patterns = _sorted(blocked)
    return "".join(f"{one_line(shown_term(term))}\n" for term in [*plain, *patterns])


def _sorted(blocked: Sequence[BlockedTerm]) -> tuple[list[BlockedTerm], list[BlockedTerm]]:
    return [term for term in blocked if not term.is_pattern], [term for term in blocked if term.is_pattern]


def term_choice(term: BlockedTerm) -> str:
    """A term or pattern in a list of choices."""
    return choice_name(shown_term(term))


def banned(result: Banned) -> str:
    """The reply to a ban, with what it doesn't stop."""
    without = "They see the ban when they ask for a video. To tell them why, ban them again with a `reason`."
    sees = without if result.ban.reason == NO_REASON else "They see the reason when they ask for a video."
    lines = [answer(result.entry), sees]
    if result.active_jobs:
        lines.append(
            f"{several(result.active_jobs, 'video')} they already ordered will still be made. Use "
            "`/video-admin jobs cancel` if you don't want that."
        )
    return "\n".join(lines)


def bans(active: Sequence[Ban]) -> str:
    """Who is banned or paused, until when, why and by whom."""
    if not active:
        return "Nobody is banned or paused in this server."
    head = f"**{several(len(active), 'member')}** can't make videos here:"
    return "\n".join([head, *map(_ban, active)])


def bans_file(active: Sequence[Ban]) -> str:
    """The same as a plain text, with ids and exact times."""
    return "".join(f"{_ban_in_file(ban)}\n" for ban in active)


def _reason(ban: Ban) -> str:
    return ban_reason(ban.reason) if ban.actor_id is None else ban.reason


def _ban(ban: Ban) -> str:
    until = "permanently" if ban.expires_at is None else f"until {exact(ban.expires_at)}"
    by = "paused by the bot" if ban.actor_id is None else f"banned by {mention(ban.actor_id)}"
    return f"- {mention(ban.user_id)} {until}, {by}: {escaped(_reason(ban), _REASON_MAX)}"


def _ban_in_file(ban: Ban) -> str:
    until = "permanent" if ban.expires_at is None else f"until {_utc(ban.expires_at)}"
    by = "the bot" if ban.actor_id is None else str(ban.actor_id)
    return f"{ban.user_id}\t{until}\tby {by}, {_utc(ban.created_at)}\t{one_line(_reason(ban))}"


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
