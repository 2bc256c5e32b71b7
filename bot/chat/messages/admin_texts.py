"""Texts for admins about limits, credits and settings. Pure: takes values, returns Discord markdown.

Foreign text is escaped: see `bot.chat.messages.markdown`.
"""

from datetime import timedelta
from decimal import Decimal

import discord

from bot.chat.messages import model_texts
from bot.chat.messages.audit_texts import (
    PART_NAMES,
    answer,
    limit_lines,
    limit_text,
    limit_value,
    target,
    violation_pause,
)
from bot.chat.messages.markdown import FIELD_MAX, joined_within, mention, relative, several
from bot.chat.messages.member_texts import origin
from bot.chat.messages.reason_texts import text_of
from bot.domain.audit_log import AuditEntry
from bot.domain.durations import show_duration, window_text
from bot.domain.guilds import Access, LimitOverrides, PolicyEntryKind
from bot.domain.jobs import Resolution
from bot.domain.limits import Allowance
from bot.domain.money import show_limit, show_usd
from bot.services.admin.audited import AdminProblem, AdminRefused
from bot.services.admin.credits import CreditChange
from bot.services.admin.limits import (
    OVERRIDE_PARTS,
    AllLimits,
    LimitPart,
    LimitUnreadable,
    override_value,
    server_limit,
)
from bot.services.admin.settings import Overview

_UNCHANGED = " Nothing was changed."
_NAMED_MAX = 5


def paused(entry: AuditEntry) -> str:
    """The reply to pausing: what it means for videos already ordered."""
    return (
        f"{answer(entry)}\nQueued videos will still be made, and running ones will still be posted. "
        "`/video-admin resume` takes new videos again."
    )


def limits_set(entry: AuditEntry) -> str:
    """The reply to setting limits: before → after, or the current value where nothing changed."""
    whose = "" if entry.change.target_id is None else f" for {target(entry.change)}"
    head = f"✅ Changed{whose}:" if entry.change.is_change else f"Current limits{whose}:"
    return "\n".join([head, *limit_lines(entry.change)])


def credits_changed(change: CreditChange) -> str:
    """The reply to a grant or a revocation."""
    number, who = several(abs(change.after - change.before), "credit"), mention(change.user_id)
    if change.after < change.before:
        return f"✅ Took {number} from {who}: {change.before} → {change.after}."
    until = "" if change.expires_at is None else f" They expire {relative(change.expires_at)}."
    return (
        f"✅ Gave {who} {number}: {change.before} → {change.after}.{until}\n"
        "Each credit pays for one video once the member has reached their limit."
    )


def all_limits(limits: AllLimits) -> str:
    """All limits: of the server, its roles and its members."""
    lines = ["**This server**"]
    lines += [
        f"{PART_NAMES[part]}: {limit_value(part, server_limit(limits.settings, limits.rules, part))}"
        for part in LimitPart
    ]
    lines += ["", "**Roles** (members get the best of theirs)"]
    lines += [f"<@&{role_id}>: {_tier(tier)}" for role_id, tier in sorted(limits.roles.items())] or ["none"]
    lines += ["", "**Members** (these override their roles)"]
    lines += [f"{mention(user_id)}: {_tier(tier)}" for user_id, tier in sorted(limits.members.items())] or ["none"]
    lines += ["", "-# Set them with `/video-admin limits server`, `role` and `member`; `clear` removes one."]
    return "\n".join(lines)


def _tier(tier: LimitOverrides) -> str:
    said = [(part, override_value(tier, part)) for part in OVERRIDE_PARTS]
    return ", ".join(f"{part} {limit_text(part, value)}" for part, value in said if value is not None)


def member_limits(user_id: int, allowance: Allowance) -> str:
    """One member's limits, where each comes from, and how much they have used."""
    limits, usage = allowance.limits, allowance.usage
    pause = show_duration(timedelta(seconds=limits.cooldown_s.value)) if limits.cooldown_s.value else "none"
    lines = [f"**{mention(user_id)}**"]
    if limits.exempt:
        lines.append(
            "**exempt**: they manage the bot, and this server exempts admins. Only the server's own limits apply."
        )
    for name, value, limit in (
        (
            f"videos per {window_text(limits.window)}",
            f"{len(usage.charged_at)} of **{limits.videos_per_window.value}** used",
            limits.videos_per_window,
        ),
        ("videos at once", f"{usage.running} of **{limits.max_active.value}**", limits.max_active),
        ("pause between orders", f"**{pause}**", limits.cooldown_s),
    ):
        lines.append(f"{name}: {value} ({origin(limit, 'them')})")
    if (available_at := usage.next_available_at(limits)) is not None:
        lines.append(f"next video unlocks {relative(available_at)}")
    for credit in usage.credits[:10]:
        until = "" if credit.expires_at is None else f", expiring {relative(credit.expires_at)}"
        lines.append(f"credits: **{credit.left}**{until}")
    return "\n".join(lines)


def log_channel(entry: AuditEntry, channel_id: int, *, public: bool) -> str:
    """The reply to setting the log channel. public: whether everyone in the server can read it."""
    text = answer(entry)
    if public:
        text += (
            f"\n⚠️ Everyone in this server can read <#{channel_id}>. The log names members and why they were "
            "refused, so a channel that only moderators can see is better."
        )
    return text


def settings(overview: Overview) -> discord.Embed:
    """All settings of a server, each with the command that changes it."""
    embed = discord.Embed(title="Videos in this server", description=_state(overview))
    models = "models, " if _has_models(overview) else ""
    for name, lines, paths in (
        ("Each member", _members(overview), "limits server"),
        ("The whole server", _whole(overview), "limits server"),
        ("Custom limits and credits", _own(overview), "limits role, limits member, limits show, grant, revoke"),
        (
            "Where and who",
            _policy(overview),
            (
                "channels allow, channels deny, channels forget, roles allow, roles deny, roles forget, "
                "age-restricted"
            ),
        ),
        (
            "What",
            _what(overview),
            f"{models}resolutions, words add, words remove, words strikes, approval, quotes",
        ),
        ("Banned or paused", [f"**{several(overview.bans, 'member')}**"], "ban, unban, bans"),
        ("Log", [_log(overview)], "log channel, log off, log show"),
    ):
        commands = " · ".join(f"`{path}`" for path in f"/video-admin {paths}".split(", "))
        embed.add_field(name=name, value=joined_within(lines, FIELD_MAX, tail=commands), inline=False)
    return embed


def _state(overview: Overview) -> str:
    if overview.guild.access is Access.BLOCKED or (
        overview.guild.access is Access.OPEN and not overview.rules.open_to_all
    ):
        return "⛔ The bot's operator doesn't currently let this server make videos."
    if overview.guild.settings.paused:
        return "⏸️ **Paused**: no new videos. Queued and running ones will still be finished."
    if overview.draining:
        return "⏳ The bot's operator isn't taking new videos right now. Videos already ordered will be finished."
    return "▶️ **Open**: members can make videos."


def _members(overview: Overview) -> list[str]:
    parts = (LimitPart.VIDEOS, LimitPart.WINDOW, LimitPart.RUNNING, LimitPart.PAUSE, LimitPart.EXEMPT_ADMINS)
    return [f"{PART_NAMES[part]}: {_set(overview, part)}" for part in parts]


def _set(overview: Overview, part: LimitPart) -> str:
    values = server_limit(overview.guild.settings, overview.rules, part)
    return f"**{limit_text(part, values['value'])}**" + (" (default)" if values.get("default") else "")


def _whole(overview: Overview) -> list[str]:
    spent = overview.spent
    lines = [
        f"videos per day: {_set(overview, LimitPart.VIDEOS_PER_DAY)}, {spent.videos_today} today",
        f"USD per day: {_set(overview, LimitPart.USD_PER_DAY)}, {_cents(spent.usd_today)} today",
        f"USD per month: {_set(overview, LimitPart.USD_PER_MONTH)}, {_cents(spent.usd_month)} this month",
    ]
    if overview.budget.usd_per_day is not None or overview.budget.usd_per_month is not None:
        day, month = show_limit(overview.budget.usd_per_day), show_limit(overview.budget.usd_per_month)
        lines.append(f"the operator's budget for this server: **{day}** per day, **{month}** per month")
    return lines


def _cents(amount: Decimal) -> str:
    return show_usd(amount.quantize(Decimal("0.01")))


def _own(overview: Overview) -> list[str]:
    roles, members = several(overview.role_overrides, "role"), several(overview.member_overrides, "member")
    holders = several(overview.credit_members, "member")
    return [
        f"custom limits: **{roles}**, **{members}**",
        f"credits: **{overview.credits}**" + (f", held by **{holders}**" if overview.credits else ""),
    ]


def _policy(overview: Overview) -> list[str]:
    lines = []
    for kind, mark, name in ((PolicyEntryKind.CHANNEL, "#", "channels"), (PolicyEntryKind.ROLE, "@&", "roles")):
        said = [entry for entry in overview.entries if entry.kind is kind]
        allowed = [f"<{mark}{entry.target_id}>" for entry in said if entry.allowed]
        denied = [f"<{mark}{entry.target_id}>" for entry in said if not entry.allowed]
        text = f"only {_few(allowed)}" if allowed else "all"
        lines.append(f"{name}: **{text}**" + (f", except {_few(denied)}" if denied else ""))
    only = "yes" if overview.guild.settings.age_restricted_only else "no"
    return [*lines, f"age-restricted channels only: **{only}**"]


def _few(names: list[str]) -> str:
    more = len(names) - _NAMED_MAX
    return ", ".join(names[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _has_models(overview: Overview) -> bool:
    """Whether there are models to choose from, or the server chose some."""
    return overview.rules.catalog.has_choice or overview.guild.settings.allowed_models is not None


def _what(overview: Overview) -> list[str]:
    own = overview.guild.settings
    resolutions = ", ".join(one for one in Resolution if one in own.allowed_resolutions)
    pause = violation_pause(
        own.violation_limit, own.violation_pause_hours, refused_content=own.refused_content_counts
    )
    models = f"models: **{model_texts.listed(own.allowed_models)}**"
    return [
        *([models] if _has_models(overview) else []),
        f"resolutions: **{resolutions}**",
        f"blocked words: **{overview.terms}**",
        f"pause for blocked prompts: **{pause}**",
        f"a moderator approves each video: **{'yes' if own.approval_required else 'no'}**",
        f"price quotes before each order: **{'on' if own.quotes_shown else 'off'}**",
    ]


def _log(overview: Overview) -> str:
    channel_id = overview.guild.settings.log_channel_id
    return "**off**: changes, refusals and failures aren't reported" if channel_id is None else f"<#{channel_id}>"


@text_of.register
def _(reason: LimitUnreadable) -> str:
    why = reason.reason if isinstance(reason.reason, str) else text_of(reason.reason)
    return f"`{reason.part}`: {why.removesuffix(_UNCHANGED)}{_UNCHANGED}"


_P = AdminProblem
_REFUSALS = {
    _P.ALREADY_CANCELLED: (
        "That video is already cancelled, so there's nothing left to do: it ends by itself and won't be posted."
    ),
    _P.APPROVAL_NEEDS_LOG: (
        "Moderators approve videos in the log channel. Turn that off first with `/video-admin approval`, or "
        "choose another channel."
    ),
    _P.BAN_TOO_SHORT: "A ban has to last some time. Leave `expires` out for a permanent one.",
    _P.CREDITS_EXPIRE_AT_ONCE: (
        "Those credits would expire right away. Choose a longer time, or leave `expires` out."
    ),
    _P.CREDITS_OUT_OF_BOUNDS: "Choose 1 to {0.limit:,} credits to give or take at a time. Nothing was changed.",
    _P.EVERYONE_HAS_SERVER_LIMITS: (
        "@everyone means all members, so use `/video-admin limits server` instead. Nothing was changed."
    ),
    _P.EVERYONE_IS_NO_ROLE: (
        "You can't allow or deny @everyone. To stop everyone, use `/video-admin pause`. As soon as you allow one "
        "role, members without it can't make videos."
    ),
    _P.LIMIT_OUT_OF_BOUNDS: "`{0.subject}` must be between 0 and {0.limit:,}. Nothing was changed.",
    _P.NOTHING_TO_CANCEL: "That video is already over, so there's nothing to cancel.",
    _P.NOT_BANNED: "That member is neither banned nor paused here. `/video-admin bans` shows who is.",
    _P.NO_CREDITS: (
        "That member has no credits, so there's nothing to take back. A credit that a running video uses "
        "only comes back if that video fails."
    ),
    _P.NO_LOG_CHANNEL: (
        "Moderators approve videos in the log channel, and there isn't one yet. Set one with "
        "`/video-admin log channel`, then try again."
    ),
    _P.NO_SUCH_MODEL: "I don't offer that model any more. `/video-admin models` shows those that I do.",
    _P.NO_RESOLUTION_LEFT: ("At least one resolution must stay allowed. `/video-admin pause` stops all videos."),
    _P.PATTERNS_TOO_SLOW: (
        "With that one, this server's patterns would be too slow to search for: {0.count:,} steps, and the "
        "maximum is {0.limit:,}. Nothing was added. Use smaller repeat counts, or make room with "
        "`/video-admin words remove`."
    ),
    _P.PAUSE_TOO_LONG: "Choose at most {0.limit} days. Nothing was changed.",
    _P.POLICY_ENTRY_NOT_SET: (
        "That {0.subject} is neither allowed nor denied. `/video-admin {0.subject}s show` lists those that are."
    ),
    _P.TERM_NOT_BLOCKED: "That isn't blocked. `/video-admin words show` lists what is.",
    _P.TOO_MANY_PATTERNS: (
        "A server can block at most {0.limit} patterns. Nothing was added. Write one that covers several things, "
        "`this|that`, or make room with `/video-admin words remove`."
    ),
    _P.TOO_MANY_POLICY_ENTRIES: (
        "You already allow or deny {0.limit} {0.subject}s, and that's the maximum. "
        "`/video-admin {0.subject}s forget` makes room."
    ),
    _P.TOO_MANY_TERMS: (
        "That would make {0.count} blocked words, and the maximum is {0.limit}. Nothing was added. "
        "`/video-admin words remove` makes room."
    ),
    _P.UNKNOWN_JOB: "I don't know that video in this server. `/video-admin jobs show` lists the current ones.",
    _P.VIOLATION_LIMIT_OUT_OF_BOUNDS: "Choose 0 (never) to {0.limit} blocked prompts. Nothing was changed.",
    _P.VIOLATION_PAUSE_OUT_OF_BOUNDS: "The pause must last 1 to {0.limit} hours. Nothing was changed.",
    _P.WINDOW_NOT_IN_HOURS: "Choose 1 to {0.limit} whole hours, such as `24h` or `7d`. Nothing was changed.",
}


@text_of.register
def _(reason: AdminRefused) -> str:
    return _REFUSALS[reason.problem].format(reason)
