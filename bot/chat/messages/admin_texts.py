"""What the bot says to admins about limits, credits and settings. Pure: values in, Discord's markdown out.

All foreign text in it is escaped: see `bot.chat.messages.markdown`.
"""

from datetime import timedelta
from decimal import Decimal

import discord

from bot.chat.messages.audit_texts import PART_NAMES, answer, limit_lines, limit_value, strikes, target
from bot.chat.messages.markdown import FIELD_MAX, joined_within, mention, relative, several
from bot.chat.messages.reason_texts import text_of
from bot.domain.audit_log import AuditEntry
from bot.domain.durations import show_duration, window_text
from bot.domain.guilds import Access, LimitOverrides, PolicyEntryKind
from bot.domain.jobs import Resolution
from bot.domain.limits import Allowance, Limit, Origin
from bot.domain.money import show_limit, show_usd
from bot.services.admin.credits import CreditChange, CreditsExpireAtOnce, CreditsOutOfBounds, NoCreditsLeft
from bot.services.admin.limits import (
    TIER_PARTS,
    AllLimits,
    EveryoneIsNoRole,
    LimitOutOfBounds,
    LimitPart,
    LimitUnreadable,
    PauseTooLong,
    WindowNotInHours,
    server_limit,
    tier_limit,
)
from bot.services.admin.settings import ApprovalNeedsLog, Overview

_UNCHANGED = " Nothing was changed."


def paused(entry: AuditEntry) -> str:
    """The answer to pausing: what it means for what was ordered."""
    return (
        f"{answer(entry)}\nQueued videos will still be made, and running ones will still be posted. "
        "`/video-admin resume` takes new videos again."
    )


def limits_set(entry: AuditEntry) -> str:
    """The answer to an act on limits: before → after of each; those that were not changed as they are."""
    whose = "" if entry.change.target_id is None else f" for {target(entry.change)}"
    head = f"✅ Changed{whose}:" if entry.change.is_change else f"Current limits{whose}:"
    return "\n".join([head, *limit_lines(entry.change)])


def credits_changed(change: CreditChange) -> str:
    """The answer to a grant or a revocation."""
    number, who = several(abs(change.after - change.before), "credit"), mention(change.user_id)
    if change.after < change.before:
        return f"✅ Took {number} from {who}: {change.before} → {change.after}."
    until = "" if change.expires_at is None else f" They expire {relative(change.expires_at)}."
    return (
        f"✅ Gave {who} {number}: {change.before} → {change.after}.{until}\n"
        "Each credit pays for one video once the member has used up their window."
    )


def all_limits(it: AllLimits) -> str:
    """Who has what: the server, the roles, the members."""
    lines = ["**This server**"]
    lines += [
        f"{PART_NAMES[part]}: {limit_value(part, server_limit(it.settings, it.rules, part))}" for part in LimitPart
    ]
    lines += ["", "**Roles** (members get the best of theirs)"]
    lines += [f"<@&{role_id}>: {_tier(tier)}" for role_id, tier in sorted(it.roles.items())] or ["none"]
    lines += ["", "**Members** (these override their roles)"]
    lines += [f"{mention(user_id)}: {_tier(tier)}" for user_id, tier in sorted(it.members.items())] or ["none"]
    lines += ["", "-# Set them with `/video-admin limits server`, `role` and `member`; `clear` removes one."]
    return "\n".join(lines)


def _tier(tier: LimitOverrides) -> str:
    said = [(part, tier_limit(tier, part)) for part in TIER_PARTS]
    return ", ".join(f"{part} {limit_value(part, {'value': value})}" for part, value in said if value is not None)


def member_limits(user_id: int, it: Allowance) -> str:
    """What one member may have, each with where it comes from, and what they have used."""
    limits, usage = it.limits, it.usage
    used = f"{len(usage.charged_at)} of **{limits.videos_per_window.value}** used"
    pause = show_duration(timedelta(seconds=limits.cooldown_s.value)) if limits.cooldown_s.value else "none"
    lines = [
        f"**{mention(user_id)}**",
        f"videos per {window_text(limits.window)}: {used} {_source(limits.videos_per_window)}",
        f"videos at once: {usage.running} of **{limits.max_active.value}** {_source(limits.max_active)}",
        f"pause between requests: **{pause}** {_source(limits.cooldown_s)}",
    ]
    if limits.exempt:
        lines.insert(
            1,
            "**exempt**: they manage the bot, and this server exempts admins. Only the server's own limits apply.",
        )
    if it.next_available_at is not None:
        lines.append(f"next video unlocks {relative(it.next_available_at)}")
    for credit in usage.credits[:10]:
        until = "" if credit.expires_at is None else f", expiring {relative(credit.expires_at)}"
        lines.append(f"credits: **{credit.left}**{until}")
    return "\n".join(lines)


def _source(limit: Limit) -> str:
    match limit.origin:
        case Origin.ROLE:
            return f"(from <@&{limit.role_id}>)"
        case Origin.MEMBER:
            return "(set for them)"
        case Origin.SERVER:
            return "(this server)"
        case Origin.OPERATOR:
            return "(default)"


def log_channel(entry: AuditEntry, channel_id: int, *, public: bool) -> str:
    """The answer to setting the log channel. public: whether everybody in the server can read it."""
    text = answer(entry)
    if public:
        text += (
            f"\n⚠️ Everyone in this server can read <#{channel_id}>. The log names members and why they were "
            "refused, so a channel that only moderators can see is better."
        )
    return text


def settings(it: Overview) -> discord.Embed:
    """All that is set in a server, each with the command that changes it."""
    embed = discord.Embed(title="Videos in this server", description=_state(it))
    for name, lines, paths in (
        ("Each member", _members(it), ("limits server",)),
        ("The whole server", _whole(it), ("limits server",)),
        (
            "Custom limits and credits",
            _own(it),
            ("limits role", "limits member", "limits show", "grant", "revoke"),
        ),
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
        return "⛔ The bot's operator doesn't currently let this server make videos."
    if it.guild.settings.paused:
        return "⏸️ **Paused**: no new videos. Queued and running ones will still be finished."
    if it.draining:
        return "⏳ The bot's operator isn't taking new videos right now. Videos already ordered will be finished."
    return "▶️ **Open**: members can make videos."


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
    values = server_limit(it.guild.settings, it.rules, part)
    return f"**{limit_value(part, {'value': values['value']})}**" + (" (default)" if values.get("default") else "")


def _whole(it: Overview) -> list[str]:
    spent = it.spent
    lines = [
        f"videos per day: {_set(it, LimitPart.VIDEOS_PER_DAY)}, {spent.videos_today} today",
        f"USD per day: {_set(it, LimitPart.USD_PER_DAY)}, {_cents(spent.usd_today)} today",
        f"USD per month: {_set(it, LimitPart.USD_PER_MONTH)}, {_cents(spent.usd_month)} this month",
    ]
    if it.budget.usd_per_day is not None or it.budget.usd_per_month is not None:
        day, month = show_limit(it.budget.usd_per_day), show_limit(it.budget.usd_per_month)
        lines.append(f"the operator's budget for this server: **{day}** per day, **{month}** per month")
    return lines


def _cents(amount: Decimal) -> str:
    return show_usd(amount.quantize(Decimal("0.01")))


def _own(it: Overview) -> list[str]:
    return [
        f"own limits: {_count(it.role_tiers, 'role')}, {_count(it.member_tiers, 'member')}",
        f"credits: **{it.credits}**" + (f" held by {_count(it.credit_members, 'member')}" if it.credits else ""),
    ]


def _places(it: Overview) -> list[str]:
    lines = []
    for kind, mark, name in ((PolicyEntryKind.CHANNEL, "#", "channels"), (PolicyEntryKind.ROLE, "@&", "roles")):
        said = [place for place in it.places if place.kind is kind]
        allowed = [f"<{mark}{place.target_id}>" for place in said if place.allowed]
        denied = [f"<{mark}{place.target_id}>" for place in said if not place.allowed]
        text = f"only {_few(allowed)}" if allowed else "all"
        lines.append(f"{name}: **{text}**" + (f", except {_few(denied)}" if denied else ""))
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
        f"blocked words: **{it.words}**",
        f"pause for blocked prompts: **{strikes(own.violation_limit, own.violation_pause_hours)}**",
        f"a moderator approves each video: **{'yes' if own.approval_required else 'no'}**",
    ]


def _log(it: Overview) -> str:
    channel_id = it.guild.settings.log_channel_id
    return "**off**: changes, refusals and failures aren't reported" if channel_id is None else f"<#{channel_id}>"


def _count(number: int, name: str) -> str:
    return f"**{number:,}** {name}{'' if number == 1 else 's'}"


@text_of.register
def _(reason: LimitOutOfBounds) -> str:
    return f"`{reason.part}` must be between 0 and {reason.most:,}. Nothing was changed."


@text_of.register
def _(reason: LimitUnreadable) -> str:
    why = reason.reason if isinstance(reason.reason, str) else text_of(reason.reason)
    return f"`{reason.part}`: {why.removesuffix(_UNCHANGED)}{_UNCHANGED}"


@text_of.register
def _(reason: PauseTooLong) -> str:
    return f"A pause can be at most {several(reason.most.days, 'day')}. Nothing was changed."


@text_of.register
def _(reason: WindowNotInHours) -> str:
    most = reason.most_hours
    return f"The window must be 1 to {most} whole hours, such as `24h` or `7d`. Nothing was changed."


@text_of.register
def _(_reason: EveryoneIsNoRole) -> str:
    return "@everyone means all members, so use `/video-admin limits server` instead. Nothing was changed."


@text_of.register
def _(reason: CreditsOutOfBounds) -> str:
    return f"You can give or take 1 to {reason.most:,} credits at a time. Nothing was changed."


@text_of.register
def _(_reason: CreditsExpireAtOnce) -> str:
    return "Those credits would expire right away. Choose a longer time or leave `expires` out."


@text_of.register
def _(reason: NoCreditsLeft) -> str:
    return (
        f"{mention(reason.user_id)} has no credits to take back. A credit that a running video uses only comes "
        "back if that video fails."
    )


@text_of.register
def _(_reason: ApprovalNeedsLog) -> str:
    return (
        "Moderators approve videos in the log channel. Turn that off first with `/video-admin approval`, or "
        "choose another channel."
    )
