"""What the bot says to a server's admins about what it used, made and spent. Pure; all fits a message."""

from datetime import timedelta

from bot.chat.messages.job_overview_texts import REASONS
from bot.chat.messages.markdown import CONTENT_MAX, joined_within, mention, several
from bot.domain.durations import show_duration
from bot.domain.money import show_share, show_usd
from bot.domain.usage_stats import BudgetUse, MemberUse, Period, UsageStats, VideoCounts
from bot.services.admin.usage import Report

PERIODS = {
    Period.TODAY: "today",
    Period.WEEK: "the last 7 days",
    Period.THIRTY_DAYS: "the last 30 days",
    Period.THIS_MONTH: "this month",
    Period.LAST_MONTH: "last month",
    Period.ALL: "all time",
}
"""The periods as they read in a sentence and in a list of choices."""

_MINUTE_S = 60


def usage(report: Report) -> str:
    """A server's use over a period, beside its chart and its table."""
    stats = report.stats
    first, last = stats.days[0].day, stats.days[-1].day
    days = f"{first}" if first == last else f"{first} to {last}"
    lines = [f"**Usage of this server, {PERIODS[report.period]}** ({days}, UTC)"]
    if stats.is_empty:
        lines.append("Nobody ordered a video in that time, so there's nothing to show.")
    else:
        lines += [*_videos(stats), *_waits(stats), _money(stats)]
        if report.chart is None:
            lines.append("The chart couldn't be drawn this time.")
    lines += _budgets(stats.budget)
    if report.is_cut:
        lines.append(
            f"The table has only the newest {report.csv_lines:,} videos. Choose a shorter period to see the "
            "others."
        )
    return joined_within([*lines, *_top(stats.top)], CONTENT_MAX)


def csv_name(report: Report) -> str:
    """The name of the table's file."""
    days = report.stats.days
    return f"videos-{days[0].day}-to-{days[-1].day}.csv"


def described(report: Report) -> str:
    """The chart in words, for those who can't see it."""
    stats = report.stats
    return (
        f"Bar chart: {_ordered(stats.videos)} ({_ends(stats.videos)}) and {show_usd(stats.usd)} spent, "
        f"{PERIODS[report.period]}."
    )


def _videos(stats: UsageStats) -> list[str]:
    videos = stats.videos
    members = several(stats.members, "member")
    lines = [f"🎞️ **{_ordered(videos)}** by {members}: {_ends(videos)}."]
    if stats.success is not None:
        lines[0] += f" {stats.success:.0%} of finished attempts succeeded."
    if stats.failures:
        by_count = sorted(stats.failures.items(), key=lambda pair: (-pair[1], pair[0]))
        lines.append(
            "❌ Failed: " + ", ".join(f"{count:,}× {REASONS[reason]}" for reason, count in by_count) + "."
        )
    if videos.rejected:
        rejected, whose = several(videos.rejected, "video"), "its" if videos.rejected == 1 else "their"
        lines.append(f"🛡️ The video service's moderation rejected {rejected} for {whose} content.")
    return lines


def _ordered(videos: VideoCounts) -> str:
    return several(videos.ordered, "video")


def _ends(videos: VideoCounts) -> str:
    parts = (
        (videos.delivered, "delivered"),
        (videos.failed, "failed"),
        (videos.rejected, "rejected"),
        (videos.cancelled, "cancelled"),
        (videos.in_progress, "in progress"),
    )
    return ", ".join(f"{count:,} {name}" for count, name in parts if count)


def _waits(stats: UsageStats) -> list[str]:
    said = [
        f"{_span(waits.median_s)} {name} (95%: {_span(waits.p95_s)})"
        for name, waits in (("until it started", stats.in_queue), ("until the video was ready", stats.to_video))
        if waits is not None
    ]
    return [f"⏱️ Median wait: {'; '.join(said)}."] if said else []


def _span(seconds: float) -> str:
    """A wait in words: to the second below two minutes, to the minute above."""
    step = 1 if seconds < 2 * _MINUTE_S else _MINUTE_S
    return show_duration(timedelta(seconds=round(seconds / step) * step))


def _money(stats: UsageStats) -> str:
    line = f"💵 **{show_usd(stats.usd)}** spent"
    if stats.reserved_usd:
        settled = stats.usd - stats.reserved_usd
        line += f": {show_usd(settled)} settled, {show_usd(stats.reserved_usd)} reserved for videos in progress"
    return f"{line}."


def _top(top: tuple[MemberUse, ...]) -> list[str]:
    """The busiest members; the last lines, which are left out first where numbers are absurdly long."""
    return [
        f"{number}. {mention(use.user_id)}: {use.ordered:,} ordered, {use.delivered:,} delivered, "
        f"{show_usd(use.usd)}"
        for number, use in enumerate(top, start=1)
    ]


def _budgets(budget: BudgetUse) -> list[str]:
    lines = []
    for name, spent, own, granted in (
        ("Today", budget.usd_today, budget.own.usd_per_day, budget.granted.usd_per_day),
        ("This month", budget.usd_month, budget.own.usd_per_month, budget.granted.usd_per_month),
    ):
        limits = [
            f"{show_share(spent, limit)} of {show_usd(limit)} {origin}"
            for limit, origin in ((own, "set by this server"), (granted, "set by the operator"))
            if limit is not None
        ]
        lines.append(f"{name}: {show_usd(spent)} spent, {' and '.join(limits) or 'no budget set'}.")
    return lines
