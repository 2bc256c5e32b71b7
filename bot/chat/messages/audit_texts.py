"""The audit log in words: each action is one phrase that follows a name. Pure; foreign text is escaped.

The same phrase is used in the log channel ("⚙️ @Ann banned @Max until …: spam"), in `/video-admin log show` and,
with a capital letter, in the reply to the command.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from bot.chat.messages import model_texts
from bot.chat.messages.markdown import discord_length, escaped, mention, one_line, several
from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind
from bot.domain.durations import show_duration, window_text
from bot.domain.guilds import BLOCKED_PROMPTS, Access, BlockedTerm
from bot.domain.jobs import Resolution
from bot.domain.money import show_limit
from bot.services.admin.limits import LimitPart

_SHOWN_MAX = 300
"""The longest foreign text shown, in characters."""

_TERMS_MAX = 600

NO_REASON = "no reason given"
"""Stored as the reason of a ban for which an admin gave none."""

PART_NAMES: Mapping[str, str] = {
    LimitPart.VIDEOS: "videos per window",
    LimitPart.RUNNING: "videos at once",
    LimitPart.PAUSE: "pause between orders",
    LimitPart.WINDOW: "window",
    LimitPart.VIDEOS_PER_DAY: "videos per day (whole server)",
    LimitPart.USD_PER_DAY: "USD per day (whole server)",
    LimitPart.USD_PER_MONTH: "USD per month (whole server)",
    LimitPart.EXEMPT_ADMINS: "admins exempt from member limits",
}
"""The limits in words."""


def answer(entry: AuditEntry) -> str:
    """The reply to a command: what it did, or that nothing changed."""
    change = entry.change
    if change.is_change:
        done = phrase(entry)
        return f"✅ {done[:1].upper()}{done[1:]}"
    if change.action is Action.VIOLATION_LIMIT_SET:
        return f"Blocked prompts pause a member: {_pause(_Values(change.after))}."
    if change.action not in _UNCHANGED:
        return "Nothing changed: it was already set that way."
    return f"Nothing changed: {_UNCHANGED[change.action](_view(change, in_server=True))}."


def logged(guild_id: int, by: int | None, change: AuditedChange) -> str:
    """An entry as it is posted in the log channel."""
    sign = {Action.JOB_APPROVED: "✅", Action.JOB_DECLINED: "🚫"}.get(change.action, "⚙️")
    who = _who(by, change)
    return f"{sign} {who[:1].upper()}{who[1:]} {_phrase(change, in_server=bool(guild_id))}"


def audit_log_lines(entries: Sequence[AuditEntry]) -> str:
    """A server's audit log, one line per entry: when, who, what."""
    lines = [
        f"<t:{int(entry.created_at.timestamp())}:f> {_who(entry.actor_id, entry.change)} {phrase(entry)}"
        for entry in entries
    ]
    return "\n".join(lines) or "Nothing has been changed here yet."


def audit_log_file(entries: Sequence[AuditEntry]) -> str:
    """The audit log as a text file with ids and values as they are stored, one line per entry."""
    return "".join("\t".join(_cells(entry)) + "\n" for entry in entries)


def _cells(entry: AuditEntry) -> tuple[str, ...]:
    change = entry.change
    target = f"{change.target_kind} {change.target_id}" if change.target_id else change.legacy_what or ""
    return (
        f"{entry.created_at:%Y-%m-%d %H:%M:%S} UTC",
        str(entry.actor_id or _who(None, change)),
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
    """What was done, as a phrase that follows a name."""
    return _phrase(entry.change, in_server=bool(entry.guild_id))


def _phrase(change: AuditedChange, *, in_server: bool) -> str:
    if change.action is Action.LEGACY or isinstance(change.before, str) or isinstance(change.after, str):
        what = escaped(change.legacy_what or "", keep_mentions=True)
        return f"changed **{what}**: {_old(change.before)} → {_old(change.after)}"
    return _PHRASES[change.action](_view(change, in_server=in_server))


def _old(value: Mapping[str, Any] | str | None) -> str:
    return escaped(value, _SHOWN_MAX, keep_mentions=True) if isinstance(value, str) else "nothing"


class _Values(dict[str, Any]):
    """The values of an entry; None for those that another version didn't write."""

    def __init__(self, values: Mapping[str, Any] | str | None) -> None:
        super().__init__(values if isinstance(values, Mapping) else {})

    def __missing__(self, key: str) -> None:
        return None


@dataclass(frozen=True, slots=True)
class _View:
    """What a phrase is made of. target: what was changed. server: the one that it is about."""

    change: AuditedChange
    before: _Values
    after: _Values
    target: str
    server: str

    def text(self, name: str) -> str:
        """Foreign text among the new values, escaped."""
        return escaped(self.after[name], _SHOWN_MAX)

    def limits(self, template: str, names: Mapping[str, str] = PART_NAMES) -> str:
        """Each limit that changed. template: for one of them; {0} is its name, {1} before → after."""
        parts = [part for part, now in self.after.items() if isinstance(now, Mapping) and now != self.before[part]]
        return ", ".join(template.format(names.get(part, part), self.limit(part)) for part in parts)

    def limit(self, part: str) -> str:
        """A limit before → after, or its value where nothing changed."""
        was, now = limit_value(part, self.before[part] or {}), limit_value(part, self.after[part])
        return now if was == now else f"{was} → {now}"


def _view(change: AuditedChange, *, in_server: bool) -> _View:
    server = "this server" if in_server else f"server `{change.target_id}`"
    return _View(change, _Values(change.before), _Values(change.after), target(change), server)


def violation_pause(count: int, pause_hours: int, *, refused_content: bool) -> str:
    """When blocked prompts pause a member. refused_content: whether what the service refuses counts as well."""
    if not count:
        return "never"
    also = ", counting what the video service's moderation refuses" if refused_content else ""
    return f"after {count} in 24 hours, for {several(pause_hours, 'hour')}{also}"


def limit_value(part: str, values: Mapping[str, Any]) -> str:
    """A limit in words, marked where it is the default."""
    return limit_text(part, values.get("value")) + (" (default)" if values.get("default") else "")


def limit_text(part: str, value: Any) -> str:
    """A limit in words."""
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
    """A line per limit: before → after, or the current value where nothing changed."""
    view = _view(change, in_server=True)
    return [f"**{PART_NAMES.get(part, part)}**: {view.limit(part)}" for part in view.after]


def shown_term(term: BlockedTerm) -> str:
    """The term as lists show it; not escaped."""
    return f"pattern {term.text}" if term.is_pattern else term.text


def ban_reason(reason: str) -> str:
    """Why somebody is banned, as plain text: the admin's own words, or the bot's."""
    return "too many blocked prompts" if reason == BLOCKED_PROMPTS else reason


def _on(on: Any) -> str:
    return "on" if on else "off"


def target(change: AuditedChange) -> str:
    """What it was done to, as Discord shows it."""
    sign = {TargetKind.CHANNEL: "<#{}>", TargetKind.ROLE: "<@&{}>", TargetKind.MEMBER: "<@{}>"}
    return sign.get(change.target_kind or TargetKind.SERVER, "`{}`").format(change.target_id)


def _channel(values: _Values) -> str:
    return f"<#{values['channel_id']}>"


def _log_channel(view: _View) -> str:
    old, new = _channel(view.before), _channel(view.after)
    if view.after["channel_id"] is None:
        return f"turned the log off (it was in {old})"
    if view.before["channel_id"] is None:
        return f"set the log channel to {new}"
    return f"moved the log from {old} to {new}"


def _pause(values: _Values) -> str:
    refused_content = bool(values["refused_content"])  # entries from before schema 0016 don't have it
    return violation_pause(values["strikes"], values["pause_hours"], refused_content=refused_content)


def _resolutions(values: _Values) -> str:
    return " and ".join(one for one in Resolution if one in (values["resolutions"] or ()))


def _models(values: _Values) -> str:
    return escaped(model_texts.listed(values["models"]), _SHOWN_MAX)


def _policy_set(view: _View) -> str:
    preposition = "in" if view.change.target_kind is TargetKind.CHANNEL else "for"
    before = {None: "", True: "allowed", False: "denied"}[view.before["allowed"]]
    match view.after["allowed"]:
        case None:
            return f"removed the rule for {view.target} (it was {before})"
        case allowed:
            did = "allowed" if allowed else "denied"
            return f"{did} videos {preposition} {view.target}" + (f" (before: {before})" if before else "")


def _term(term: Mapping[str, Any]) -> str:
    return escaped(shown_term(BlockedTerm(term["text"], is_pattern=term["is_pattern"])), _SHOWN_MAX)


def _terms_blocked(view: _View) -> str:
    added = [_term(term) for term in view.after["added"] or ()]
    fitting = 1
    while fitting < len(added) and discord_length(", ".join(added[: fitting + 1])) <= _TERMS_MAX:
        fitting += 1
    more = len(added) - fitting
    return f"blocked in prompts: {', '.join(added[:fitting])}" + (f" and {more} more" if more > 0 else "")


def _ban(values: _Values) -> str:
    until = "permanently" if values["until"] is None else f"until <t:{values['until']}:f>"
    return f"{until}: {escaped(ban_reason(values['reason'] or ''), _SHOWN_MAX)}"


def _banned_or_paused(values: _Values) -> str:
    return "paused" if values["reason"] == BLOCKED_PROMPTS else "banned"


def _banned(view: _View) -> str:
    instead = f" (before: {_ban(view.before)})" if view.before else ""
    return f"banned {view.target} {_ban(view.after)}{instead}"


def _credits(view: _View) -> str:
    before, after = view.before["credits"], view.after["credits"]
    number, granted = several(abs(after - before), "credit"), view.change.action is Action.CREDITS_GRANTED
    did = f"gave {view.target} {number}" if granted else f"took {number} from {view.target}"
    expires = "" if view.after["expires_at"] is None else f", expiring <t:{view.after['expires_at']}:f>"
    reason = f": {view.text('reason')}" if view.after["reason"] else ""
    return f"{did} ({before} → {after}{expires}){reason}"


def _job(did: str) -> Callable[[_View], str]:
    def phrase(view: _View) -> str:
        user_id = view.before["user_id"]  # entries from before schema 0003 don't have it
        whose = "a member" if user_id is None else mention(user_id)
        return f"{did} a video for {whose} (`{view.change.target_id}`)"

    return phrase


def _access_set(view: _View) -> str:
    match view.after["access"]:
        case Access.ALLOWED:
            return f"allowed {view.server} to make videos"
        case Access.BLOCKED:
            return f"blocked {view.server} from making videos"
        case _:
            return f"set access for {view.server} back to the default"


_PHRASES: Mapping[Action, Callable[[_View], str]] = {
    Action.PAUSED_SET: lambda view: "paused new videos" if view.after["paused"] else "resumed new videos",
    Action.LOG_CHANNEL_SET: _log_channel,
    Action.RESOLUTIONS_SET: lambda view: (
        f"changed the allowed resolutions: {_resolutions(view.before)} → {_resolutions(view.after)}"
    ),
    Action.MODELS_SET: lambda view: f"changed the allowed models: {_models(view.before)} → {_models(view.after)}",
    Action.AGE_RESTRICTED_ONLY_SET: lambda view: (
        f"{'limited videos to' if view.after['only'] else 'allowed videos outside'} age-restricted channels"
    ),
    Action.APPROVAL_SET: lambda view: f"turned approval {_on(view.after['needed'])}",
    Action.QUOTES_SHOWN_SET: lambda view: f"turned price quotes {_on(view.after['shown'])}",
    Action.VIOLATION_LIMIT_SET: lambda view: (
        f"changed the pause for blocked prompts: {_pause(view.before)} → {_pause(view.after)}"
    ),
    Action.LIMITS_SET: lambda view: (
        (f"changed the limits of {view.target}: " if view.change.target_id else "changed this server's limits: ")
        + view.limits("{0} {1}")
    ),
    Action.POLICY_SET: _policy_set,
    Action.TERMS_BLOCKED: _terms_blocked,
    Action.TERM_UNBLOCKED: lambda view: f"unblocked in prompts: {_term(view.after['removed'])}",
    Action.MEMBER_BANNED: _banned,
    Action.MEMBER_UNBANNED: lambda view: (
        f"unbanned {view.target} (was {_banned_or_paused(view.before)} {_ban(view.before)})"
    ),
    Action.CREDITS_GRANTED: _credits,
    Action.CREDITS_REVOKED: _credits,
    Action.JOB_CANCELLED: _job("cancelled"),
    Action.JOB_RESUMED: _job("retried"),
    Action.JOB_RETRIED: _job("retried"),
    Action.JOB_APPROVED: _job("approved"),
    Action.JOB_DECLINED: _job("declined"),
    Action.BUDGET_SET: lambda view: (
        (
            f"changed the budget of {view.server}: "
            if view.change.target_id
            else "changed the budget for all servers: "
        )
        + view.limits("{1} {0}", {"usd_per_day": "per day", "usd_per_month": "per month"})
    ),
    Action.QUEUE_MAX_SET: lambda view: f"changed how many videos may wait in the queue: {view.limits('{1}')}",
    Action.ACCESS_SET: _access_set,
    Action.DRAINING_SET: lambda view: f"turned draining {_on(view.after['draining'])}",
    Action.GATE_OPENED: lambda _: "resumed submissions",
    Action.TASK_FOUND: lambda view: f"found the task of job `{view.change.target_id}`: {view.text('upstream_id')}",
    Action.TASK_LOST: lambda view: f"closed job `{view.change.target_id}`: no task, or one that cost nothing",
    Action.ANNOUNCED: lambda view: f"announced to {several(view.after['servers'], 'server')}: {view.text('text')}",
}

_UNCHANGED: Mapping[Action, Callable[[_View], str]] = {
    Action.PAUSED_SET: lambda view: f"new videos are {'already' if view.after['paused'] else 'not'} paused",
    Action.LOG_CHANNEL_SET: lambda view: (
        f"the log is already {'off' if view.after['channel_id'] is None else 'in ' + _channel(view.after)}"
    ),
    Action.RESOLUTIONS_SET: lambda view: f"resolutions are already set to {_resolutions(view.after)}",
    Action.MODELS_SET: lambda view: f"models are already set to {_models(view.after)}",
    Action.AGE_RESTRICTED_ONLY_SET: lambda view: (
        f"videos are {'already' if view.after['only'] else 'not'} limited to age-restricted channels"
    ),
    Action.APPROVAL_SET: lambda view: f"approval is already {_on(view.after['needed'])}",
    Action.QUOTES_SHOWN_SET: lambda view: f"price quotes are already {_on(view.after['shown'])}",
    Action.POLICY_SET: lambda view: f"{view.target} is already {'allowed' if view.after['allowed'] else 'denied'}",
    Action.TERMS_BLOCKED: lambda _: "all of that is already blocked",
    Action.DRAINING_SET: lambda view: f"draining is already {_on(view.after['draining'])}",
    Action.GATE_OPENED: lambda _: "submissions aren't stopped",
}
