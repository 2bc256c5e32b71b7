"""What the bot says to admins about what is set. Pure: values come in, Discord's markdown and embeds go out.

All foreign text in it is escaped: see `bot.chat.messages.markdown`.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import discord

from bot.chat.messages.markdown import FIELD_MAX, joined_within, mention, naming, one_line, relative, several
from bot.domain.durations import show_span, window_text
from bot.domain.guilds import OPERATORS, Access, Change, LimitOverrides, PolicyEntryKind
from bot.domain.jobs import Resolution
from bot.domain.limits import Allowance, Limit, Origin
from bot.domain.money import show_limit, show_usd
from bot.services.admin.audited import shown
from bot.services.admin.credits import CreditChange
from bot.services.admin.limits import (
    PART_NAMES,
    TIER_PARTS,
    AllLimits,
    LimitPart,
    Stands,
    server_limit,
    server_value,
    tier_value,
)
from bot.services.admin.policy import strikes_state
from bot.services.admin.settings import Overview


def unchanged(change: Change) -> bool:
    """Whether an act changed nothing."""
    return change.before == change.after


def changed(change: Change) -> str:
    """The answer to a change: before → after, or how it stands where nothing was changed."""
    if unchanged(change):
        return f"Nothing was changed. **{naming(change.what)}** stays: {naming(change.after or 'nothing')}"
    return f"✅ {shown(change)}"


def paused(change: Change) -> str:
    """The answer to pausing: what it means for what was ordered."""
    return (
        f"{changed(change)}\nWhat is queued is kept and made, what runs is posted. `/video-admin resume` ends it."
    )


def stands(limits: Sequence[Stands]) -> str:
    """The answer to an act on limits: before → after of each; those that were not changed as they are."""
    lines = [
        f"**{naming(it.what)}**: {naming(it.before)} → {naming(it.after)}"
        if it.before != it.after
        else f"**{naming(it.what)}**: {naming(it.after)}"
        for it in limits
    ]
    done = any(it.before != it.after for it in limits)
    return "\n".join(["✅ Changed:" if done else "Nothing was changed. It stands so:", *lines])


def credits_changed(change: CreditChange) -> str:
    """The answer to a grant or a revocation."""
    number = abs(change.after - change.before)
    done = "granted" if change.after > change.before else "taken back"
    until = "" if change.expires_at is None else f"; the new ones expire {relative(change.expires_at)}"
    return (
        f"✅ **Credits of {mention(change.user_id)}**: {change.before} → {change.after}{until}.\n"
        f"{several(number, 'credit')} {done}. One pays for a video when the member's window is full."
    )


def all_limits(it: AllLimits) -> str:
    """Who has what: the server, the roles, the members."""
    lines = ["**This server**"]
    lines += [f"{PART_NAMES[part]}: {server_value(it.settings, it.rules, part)}" for part in LimitPart]
    lines += ["", "**Roles** (a member gets the best of theirs)"]
    lines += [f"<@&{role_id}>: {_tier(tier)}" for role_id, tier in sorted(it.roles.items())] or ["none"]
    lines += ["", "**Members** (beat their roles)"]
    lines += [f"{mention(user_id)}: {_tier(tier)}" for user_id, tier in sorted(it.members.items())] or ["none"]
    lines += ["", "-# `/video-admin limits server`, `role` and `member` set them; their option `clear` unsets."]
    return "\n".join(lines)


def _tier(tier: LimitOverrides) -> str:
    return ", ".join(f"{part} {said}" for part in TIER_PARTS if (said := tier_value(tier, part)) != "not set")


def member_limits(user_id: int, it: Allowance) -> str:
    """What one member may have, each with where it comes from, and what they have used."""
    limits, usage = it.limits, it.usage
    used = f"{len(usage.counted_at)} used of **{limits.videos_per_window.value}**"
    pause = show_span(timedelta(seconds=limits.cooldown_s.value)) if limits.cooldown_s.value else "none"
    lines = [
        f"**{mention(user_id)}**",
        f"videos in {window_text(limits.window)}: {used} {_source(limits.videos_per_window)}",
        f"at once: {usage.running} of **{limits.max_active.value}** {_source(limits.max_active)}",
        f"pause between requests: **{pause}** {_source(limits.cooldown_s)}",
    ]
    if limits.exempt:
        lines.insert(
            1, "**exempt**: manages the bot, and this server exempts its admins; only its own limits hold"
        )
    if it.next_free_at is not None:
        lines.append(f"the next one frees {relative(it.next_free_at)}")
    for credit in usage.credits[:10]:
        until = "" if credit.expires_at is None else f", expiring {relative(credit.expires_at)}"
        lines.append(f"credits: **{credit.left}**{until}")
    return "\n".join(lines)


def _source(limit: Limit) -> str:
    match limit.origin:
        case Origin.ROLE:
            return f"(from role <@&{limit.role_id}>)"
        case Origin.MEMBER:
            return "(their own)"
        case Origin.SERVER:
            return "(this server's)"
        case Origin.OPERATOR:
            return "(operator's default)"


def trail(changes: Sequence[Change]) -> str:
    """The audit trail, newest first: when, who, what, before → after."""
    if not changes:
        return "Nothing has been changed here yet."
    return "\n".join(f"{_moment(it.at)} {_who(it)} {shown(replace(it, what=_what_of(it)))}" for it in changes)


def trail_file(changes: Sequence[Change]) -> str:
    """The audit trail as a text file, whole, with ids as they are; nothing in a value makes a line or a column."""
    return "".join(
        f"{it.at:%Y-%m-%d %H:%M:%S} UTC\t{it.by or _who(it)}\t{one_line(_what_of(it))}\t"
        f"{one_line(it.before or 'nothing')}\t{one_line(it.after or 'nothing')}\n"
        for it in changes
    )


def _moment(moment: datetime) -> str:
    return f"<t:{int(moment.timestamp())}:f>"


def _who(change: Change) -> str:
    if change.by is not None:
        return mention(change.by)
    return "the operator" if change.what.startswith(OPERATORS) else "the bot"


def _what_of(change: Change) -> str:
    """The setting or act, beside the name of who did it."""
    return change.what if change.by is not None else change.what.removeprefix(OPERATORS)


def log_channel(change: Change, channel_id: int, *, public: bool) -> str:
    """The answer to setting the log channel. public: whether everybody in the server can read it."""
    text = changed(change)
    if public:
        text += (
            f"\n⚠️ Everybody in this server can read <#{channel_id}>. The log names members and what was refused "
            "to them: better take a channel that only moderators see."
        )
    return text


def settings(it: Overview) -> discord.Embed:
    """All that is set in a server, each with the command that changes it."""
    embed = discord.Embed(title="Videos in this server", description=_state(it))
    for name, lines, paths in (
        ("Each member", _members(it), ("limits server",)),
        ("The whole server", _whole(it), ("limits server",)),
        ("Limits of their own", _own(it), ("limits role", "limits member", "limits show", "grant", "revoke")),
        (
            "Where and who",
            _places(it),
            (
                "channels allow",
                "channels deny",
                "channels forget",
                "roles allow",
                "roles deny",
                "roles forget",
                "age-restricted",
            ),
        ),
        ("What", _what(it), ("resolutions", "words add", "words remove", "words strikes", "approval")),
        ("Banned", [_count(it.bans, "member")], ("ban", "unban", "bans")),
        ("Log", [_log(it)], ("log channel", "log off", "log show")),
    ):
        first, *others = paths
        commands = " · ".join([f"`/video-admin {first}`", *(f"`{path}`" for path in others)])
        embed.add_field(name=name, value=joined_within(lines, FIELD_MAX, tail=commands), inline=False)
    return embed


def _state(it: Overview) -> str:
    if it.guild.access is Access.BLOCKED or (it.guild.access is Access.OPEN and not it.rules.open_to_all):
        return "⛔ The operator of this bot does not let this server use it at present."
    if it.guild.settings.paused:
        return "⏸️ **Paused**: no new videos; what is queued is kept, what runs is posted."
    if it.draining:
        return "⏳ The operator takes no new videos just now; what was ordered is finished."
    return "▶️ **Open**: videos are taken."


def _members(it: Overview) -> list[str]:
    parts = (
        LimitPart.VIDEOS,
        LimitPart.WINDOW,
        LimitPart.RUNNING,
        LimitPart.PAUSE,
        LimitPart.EXEMPT_ADMINS,
    )
    return [f"{PART_NAMES[part]}: {_set(it, part)}" for part in parts]


def _set(it: Overview, part: LimitPart) -> str:
    value, is_default = server_limit(it.guild.settings, it.rules, part)
    return f"**{value}**" + (" (operator's default)" if is_default else "")


def _whole(it: Overview) -> list[str]:
    spent = it.spent
    lines = [
        f"videos a day: {_set(it, LimitPart.VIDEOS_PER_DAY)}, {spent.videos_today} today",
        f"USD a day: {_set(it, LimitPart.USD_PER_DAY)}, {_cents(spent.usd_today)} today",
        f"USD a month: {_set(it, LimitPart.USD_PER_MONTH)}, {_cents(spent.usd_month)} this month",
    ]
    if it.budget.usd_per_day is not None or it.budget.usd_per_month is not None:
        day, month = show_limit(it.budget.usd_per_day), show_limit(it.budget.usd_per_month)
        lines.append(f"granted by the operator: **{day}** a day, **{month}** a month (only they can change it)")
    return lines


def _cents(amount: Decimal) -> str:
    return show_usd(amount.quantize(Decimal("0.01")))


def _own(it: Overview) -> list[str]:
    return [
        f"{_count(it.role_tiers, 'role')}, {_count(it.member_tiers, 'member')}",
        f"credits: **{it.credits}**" + (f" with {_count(it.credit_members, 'member')}" if it.credits else ""),
    ]


def _places(it: Overview) -> list[str]:
    lines = []
    for kind, mark, name in ((PolicyEntryKind.CHANNEL, "#", "channels"), (PolicyEntryKind.ROLE, "@&", "roles")):
        said = [place for place in it.places if place.kind is kind]
        allowed = [f"<{mark}{place.target_id}>" for place in said if place.allowed]
        denied = [f"<{mark}{place.target_id}>" for place in said if not place.allowed]
        text = f"only {_few(allowed)}" if allowed else "all"
        lines.append(f"{name}: **{text}**" + (f", but not {_few(denied)}" if denied else ""))
    only = "yes" if it.guild.settings.age_restricted_only else "no"
    return [*lines, f"age-restricted channels only: **{only}**"]


def _few(names: list[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _what(it: Overview) -> list[str]:
    own = it.guild.settings
    resolutions = ", ".join(one for one in Resolution if one in own.allowed_resolutions)
    return [
        f"resolutions: **{resolutions}**",
        f"blocked words: **{it.words}**; blocked prompts pause a member: {strikes_state(own)}",
        f"a moderator lets each video through: **{'yes' if own.approval_required else 'no'}**",
    ]


def _log(it: Overview) -> str:
    channel_id = it.guild.settings.log_channel_id
    return "**nowhere**: refusals and failures are not reported" if channel_id is None else f"<#{channel_id}>"


def _count(number: int, name: str) -> str:
    return f"**{number:,}** {name}{'' if number == 1 else 's'}"
