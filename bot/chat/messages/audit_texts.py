"""The audit log in words: what was done, as one phrase that reads after a name. Pure; foreign text is escaped.

The same phrase stands in the log channel ("⚙️ @Ann banned @Max until …: spam"), in the audit log's list and, with a
capital letter, in the answer to the command.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from bot.chat.messages.markdown import escaped, mention, naming, one_line, room, several
from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind
from bot.domain.durations import show_duration, window_text
from bot.domain.guilds import BLOCKED_PROMPTS, Access, BlockedTerm
from bot.domain.money import show_limit
from bot.services.admin.limits import LimitPart

_SHOWN_MAX = 300
"""How much of a text is shown, in characters."""

_TERMS_ROOM = 600

PART_NAMES: Mapping[str, str] = {
    LimitPart.VIDEOS: "videos per window",
    LimitPart.RUNNING: "videos at once",
    LimitPart.PAUSE: "pause between requests",
    LimitPart.WINDOW: "window",
    LimitPart.VIDEOS_PER_DAY: "videos per day (whole server)",
    LimitPart.USD_PER_DAY: "USD per day (whole server)",
    LimitPart.USD_PER_MONTH: "USD per month (whole server)",
    LimitPart.EXEMPT_ADMINS: "admins exempt from member limits",
}
"""How people read the limits."""


def answer(entry: AuditEntry) -> str:
    """The answer to a command: what it did, or that nothing had to be done."""
    if not entry.change.is_change:
        return unchanged(entry)
    said = phrase(entry)
    return f"✅ {said[:1].upper()}{said[1:]}"


def logged(guild_id: int, by: int | None, change: AuditedChange) -> str:
    """An entry as the log channel tells it."""
    sign = {Action.JOB_APPROVED: "✅", Action.JOB_DECLINED: "🚫"}.get(change.action, "⚙️")
    who = _who(by, change)
    return f"{sign} {who[:1].upper()}{who[1:]} {_phrase(change, in_server=bool(guild_id))}"


def trail(entries: Sequence[AuditEntry]) -> str:
    """A server's audit log, one line for each entry: when, who, what."""
    lines = [f"<t:{int(it.at.timestamp())}:f> {_who(it.by, it.change)} {phrase(it)}" for it in entries]
    return "\n".join(lines) or "Nothing has been changed here yet."


def trail_file(entries: Sequence[AuditEntry]) -> str:
    """The audit log as a text file, whole, with ids and values as they are stored; one line for each entry."""
    return "".join("\t".join(_cells(it)) + "\n" for it in entries)


def _cells(entry: AuditEntry) -> tuple[str, ...]:
    change = entry.change
    target = f"{change.target_kind} {change.target_id}" if change.target_id else change.legacy_what or ""
    return (
        f"{entry.at:%Y-%m-%d %H:%M:%S} UTC",
        str(entry.by or _who(None, change)),
        change.action.value,
        one_line(target),
        _cell(change.before),
        _cell(change.after),
    )


def _cell(values: Mapping[str, Any] | str | None) -> str:
    if values is None:
        return ""
    return one_line(values if isinstance(values, str) else json.dumps(values, ensure_ascii=False))


def _who(by: int | None, change: AuditedChange) -> str:
    if by is not None:
        return mention(by)
    of_the_bot = change.action is Action.LEGACY and not (change.legacy_what or "").startswith("operator's ")
    return "the bot" if of_the_bot else "the bot's operator"


def phrase(entry: AuditEntry) -> str:
    """What was done, to be read after a name."""
    return _phrase(entry.change, in_server=bool(entry.guild_id))


def _phrase(change: AuditedChange, *, in_server: bool) -> str:
    if change.action is Action.LEGACY or isinstance(change.before, str) or isinstance(change.after, str):
        return f"changed **{naming(change.legacy_what or '')}**: {_old(change.before)} → {_old(change.after)}"
    return _PHRASES[change.action](_Said(change, _Values(change.before), _Values(change.after), in_server))


def _old(value: Mapping[str, Any] | str | None) -> str:
    return naming(value, _SHOWN_MAX) if isinstance(value, str) else "nothing"


class _Values(dict[str, Any]):
    """The values of an entry; what another version did not write is None."""

    def __init__(self, values: Mapping[str, Any] | str | None) -> None:
        super().__init__(values if isinstance(values, Mapping) else {})

    def __missing__(self, key: str) -> None:
        return None


@dataclass(frozen=True, slots=True)
class _Said:
    """What a phrase is made of. in_server: for those of the server that it is about."""

    change: AuditedChange
    before: _Values
    after: _Values
    in_server: bool

    @property
    def member(self) -> str:
        """The member whose job it is about; whose id is not known of entries of before."""
        user_id = self.before["user_id"]
        return "a member" if user_id is None else mention(user_id)

    @property
    def server(self) -> str:
        """The server that it is about."""
        return "this server" if self.in_server else f"server `{self.change.target_id}`"


def unchanged(entry: AuditEntry) -> str:
    """The answer where everything was so already."""
    change = entry.change
    now = _Values(change.after)
    match change.action:
        case Action.PAUSED_SET:
            return f"Nothing changed: new videos are {'already paused' if now['paused'] else 'not paused'}."
        case Action.LOG_CHANNEL_SET:
            where = "off" if now["channel_id"] is None else f"in <#{now['channel_id']}>"
            return f"Nothing changed: the log is already {where}."
        case Action.RESOLUTIONS_SET:
            return f"Nothing changed: videos may already be {_resolutions(now)}."
        case Action.AGE_RESTRICTED_ONLY_SET:
            only = "already limited" if now["only"] else "not limited"
            return f"Nothing changed: videos are {only} to age-restricted channels."
        case Action.APPROVAL_SET:
            return f"Nothing changed: approval is already {_on(now['needed'])}."
        case Action.STRIKES_SET:
            return f"Blocked prompts pause a member: {strikes(now['strikes'], now['pause_hours'])}."
        case Action.POLICY_SET:
            state = "allowed" if now["allowed"] else "denied"
            return f"Nothing changed: {target(change)} is already {state}."
        case Action.TERMS_BLOCKED:
            return "Nothing changed: all of that is already blocked."
        case Action.DRAINING_SET:
            return f"Nothing changed: draining is already {_on(now['draining'])}."
        case _:
            return "Nothing changed: it was already set that way."


def strikes(count: int, pause_hours: int) -> str:
    """When blocked prompts pause a member."""
    return f"after {count} in 24 hours, for {several(pause_hours, 'hour')}" if count else "never"


def limit_value(part: str, values: Mapping[str, Any]) -> str:
    """How a limit reads, and that it is the default where nobody set another."""
    return _limit(part, values.get("value")) + (" (default)" if values.get("default") else "")


def _limit(part: str, value: Any) -> str:
    match part:
        case LimitPart.EXEMPT_ADMINS:
            return "yes" if value else "no"
        case LimitPart.VIDEOS_PER_DAY | LimitPart.USD_PER_DAY | LimitPart.USD_PER_MONTH if value is None:
            return "no limit"
        case _ if value is None:
            return "not set"
        case LimitPart.USD_PER_DAY | LimitPart.USD_PER_MONTH:
            return show_limit(Decimal(value))
        case LimitPart.PAUSE:
            return show_duration(timedelta(seconds=value)) if value else "none"
        case LimitPart.WINDOW:
            return window_text(timedelta(hours=value))
        case _:
            return f"{value:,}"


def limit_lines(change: AuditedChange) -> list[str]:
    """A line for each limit that an admin asked for: before → after, or how it stands."""
    before, after = _Values(change.before), _Values(change.after)
    lines = []
    for part in after:
        was, now = limit_value(part, before[part] or {}), limit_value(part, after[part])
        lines.append(f"**{PART_NAMES.get(part, part)}**: {now if was == now else f'{was} → {now}'}")
    return lines


def shown_word(word: BlockedTerm) -> str:
    """The word or pattern as lists show it; not escaped."""
    return f"pattern {word.text}" if word.is_pattern else word.text


def ban_reason(reason: str, most: int = _SHOWN_MAX) -> str:
    """Why somebody is banned."""
    return "too many blocked prompts" if reason == BLOCKED_PROMPTS else escaped(reason, most)


def _on(on: Any) -> str:
    return "on" if on else "off"


def _moment(seconds: int) -> str:
    return f"<t:{seconds}:f>"


def target(change: AuditedChange) -> str:
    """What it was done to, as Discord shows it."""
    sign = {TargetKind.CHANNEL: "<#{}>", TargetKind.ROLE: "<@&{}>", TargetKind.MEMBER: "<@{}>"}
    return sign.get(change.target_kind or TargetKind.SERVER, "`{}`").format(change.target_id)


def _paused(it: _Said) -> str:
    return "paused new videos" if it.after["paused"] else "resumed new videos"


def _log_channel(it: _Said) -> str:
    old, new = it.before["channel_id"], it.after["channel_id"]
    if new is None:
        return f"turned the log off (it was in <#{old}>)"
    return f"set the log channel to <#{new}>" if old is None else f"moved the log from <#{old}> to <#{new}>"


def _resolutions(values: _Values) -> str:
    return " and ".join(values["resolutions"] or ())


def _resolutions_set(it: _Said) -> str:
    return f"changed the allowed resolutions: {_resolutions(it.before)} → {_resolutions(it.after)}"


def _age_restricted(it: _Said) -> str:
    if it.after["only"]:
        return "limited videos to age-restricted channels"
    return "allowed videos outside age-restricted channels"


def _strikes_set(it: _Said) -> str:
    before, after = (strikes(values["strikes"], values["pause_hours"]) for values in (it.before, it.after))
    return f"changed the pause for blocked prompts: {before} → {after}"


def _limits_set(it: _Said) -> str:
    whose = "this server's limits" if it.change.target_id is None else f"the limits of {target(it.change)}"
    changes = [
        f"{PART_NAMES.get(part, part)} {limit_value(part, it.before[part] or {})} → {limit_value(part, now)}"
        for part, now in it.after.items()
        if now != it.before[part]
    ]
    return f"changed {whose}: {', '.join(changes)}"


def _policy_set(it: _Said) -> str:
    preposition = "in" if it.change.target_kind is TargetKind.CHANNEL else "for"
    before = {None: "", True: "allowed", False: "denied"}[it.before["allowed"]]
    match it.after["allowed"]:
        case None:
            return f"removed the rule for {target(it.change)} (it was {before})"
        case allowed:
            did = "allowed" if allowed else "denied"
            return f"{did} videos {preposition} {target(it.change)}" + (f" (before: {before})" if before else "")


def _term(term: Mapping[str, Any]) -> str:
    return escaped(shown_word(BlockedTerm(term["text"], is_pattern=term["is_pattern"])), _SHOWN_MAX)


def _terms_blocked(it: _Said) -> str:
    added = [_term(term) for term in it.after["added"] or ()]
    fitting = 1
    while fitting < len(added) and room(", ".join(added[: fitting + 1])) <= _TERMS_ROOM:
        fitting += 1
    more = len(added) - fitting
    return f"blocked in prompts: {', '.join(added[:fitting])}" + (f" and {more} more" if more > 0 else "")


def _ban(values: _Values) -> str:
    until = "permanently" if values["until"] is None else f"until {_moment(values['until'])}"
    return f"{until}: {ban_reason(values['reason'] or '')}"


def _banned(it: _Said) -> str:
    instead = f" (before: {_ban(it.before)})" if it.before else ""
    return f"banned {target(it.change)} {_ban(it.after)}{instead}"


def _unbanned(it: _Said) -> str:
    return f"unbanned {target(it.change)} (was banned {_ban(it.before)})"


def _credits(it: _Said) -> str:
    before, after = it.before["credits"], it.after["credits"]
    number = several(abs(after - before), "credit")
    if it.change.action is Action.CREDITS_GRANTED:
        did = f"gave {target(it.change)} {number}"
    else:
        did = f"took {number} from {target(it.change)}"
    expires = "" if it.after["expires_at"] is None else f", expiring {_moment(it.after['expires_at'])}"
    reason = f": {escaped(it.after['reason'], _SHOWN_MAX)}" if it.after["reason"] else ""
    return f"{did} ({before} → {after}{expires}){reason}"


def _job(did: str) -> Callable[[_Said], str]:
    return lambda it: f"{did} a video of {it.member} (`{it.change.target_id}`)"


def _budget_set(it: _Said) -> str:
    whose = "for all servers" if it.change.target_id is None else f"of {it.server}"
    periods = {"usd_per_day": "per day", "usd_per_month": "per month"}
    changes = [
        f"{_budget(it.before[part] or {})} → {_budget(now)} {periods.get(part, part)}"
        for part, now in it.after.items()
        if now != it.before[part]
    ]
    return f"changed the budget {whose}: {', '.join(changes)}"


def _budget(values: Mapping[str, Any]) -> str:
    amount = values.get("value")
    return show_limit(None if amount is None else Decimal(amount)) + (
        " (default)" if values.get("default") else ""
    )


def _queue_max_set(it: _Said) -> str:
    before, after = (
        f"{values['videos']['value']:,}" + (" (default)" if values["videos"].get("default") else "")
        for values in (it.before, it.after)
    )
    return f"changed how many videos may wait in the queue: {before} → {after}"


def _access_set(it: _Said) -> str:
    match it.after["access"]:
        case Access.ALLOWED:
            return f"allowed {it.server} to make videos"
        case Access.BLOCKED:
            return f"blocked {it.server} from making videos"
        case _:
            return f"set access for {it.server} back to the default"


def _task_found(it: _Said) -> str:
    return f"found the task of job `{it.change.target_id}`: {escaped(it.after['upstream_id'], _SHOWN_MAX)}"


def _announced(it: _Said) -> str:
    return f"announced to {several(it.after['servers'], 'server')}: {escaped(it.after['text'], _SHOWN_MAX)}"


_PHRASES: Mapping[Action, Callable[[_Said], str]] = {
    Action.PAUSED_SET: _paused,
    Action.LOG_CHANNEL_SET: _log_channel,
    Action.RESOLUTIONS_SET: _resolutions_set,
    Action.AGE_RESTRICTED_ONLY_SET: _age_restricted,
    Action.APPROVAL_SET: lambda it: f"turned approval {_on(it.after['needed'])}",
    Action.STRIKES_SET: _strikes_set,
    Action.LIMITS_SET: _limits_set,
    Action.POLICY_SET: _policy_set,
    Action.TERMS_BLOCKED: _terms_blocked,
    Action.TERM_UNBLOCKED: lambda it: f"unblocked in prompts: {_term(it.after['removed'])}",
    Action.MEMBER_BANNED: _banned,
    Action.MEMBER_UNBANNED: _unbanned,
    Action.CREDITS_GRANTED: _credits,
    Action.CREDITS_REVOKED: _credits,
    Action.JOB_CANCELLED: _job("cancelled"),
    Action.JOB_RESUMED: _job("retried"),
    Action.JOB_RETRIED: _job("retried"),
    Action.JOB_APPROVED: _job("approved"),
    Action.JOB_DECLINED: _job("declined"),
    Action.BUDGET_SET: _budget_set,
    Action.QUEUE_MAX_SET: _queue_max_set,
    Action.ACCESS_SET: _access_set,
    Action.DRAINING_SET: lambda it: f"turned draining {_on(it.after['draining'])}",
    Action.TASK_FOUND: _task_found,
    Action.TASK_LOST: lambda it: f"closed job `{it.change.target_id}`: it has no task",
    Action.ANNOUNCED: _announced,
}
