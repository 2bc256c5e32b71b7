"""Predicts what a host does from a few costs of a single job. Pure.

By Little's law, the tasks in progress are the rate at which they end times how long each holds its slot. So a
number of slots sets a rate, unless something else sets a lower one: submissions, the processor, or Discord's
requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.chat.transport.request_limiter import A_SECOND

DISCORD_REQUESTS_PER_S = A_SECOND
"""What all processes of the bot together send to Discord by default, besides answers to interactions."""

_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class JobCosts:
    """What one job takes.

    slot_overhead_s: for how long a slot is held besides the task itself: its submission, and the delay until a
    poll sees its end. cpu_s: of the process that works on it, on one core. poll_cpu_s: of each poll, which comes
    on top. discord_requests: those that count for the limit. row_bytes: in the database for good. picture_bytes:
    of its first frame, which goes after some days.
    """

    slot_overhead_s: float
    cpu_s: float
    poll_cpu_s: float
    discord_requests: float
    row_bytes: float
    picture_bytes: float


@dataclass(frozen=True, slots=True)
class Host:
    """What a host is given.

    slots, submits_per_s: what the providers allow together. task_s: how long a task takes on average.
    polls: of each task. workers: processes, each of which uses one core.
    """

    slots: int
    submits_per_s: float
    task_s: float
    polls: float
    workers: int = 1


def limits(host: Host, costs: JobCosts) -> Mapping[str, float]:
    """What each part allows by itself, in jobs per second. The smallest is what the host does."""
    return {
        "slots": host.slots / (host.task_s + costs.slot_overhead_s),
        "submission rate": host.submits_per_s,
        "processor": host.workers / (costs.cpu_s + host.polls * costs.poll_cpu_s),
        "Discord": DISCORD_REQUESTS_PER_S / costs.discord_requests,
    }


def jobs_per_minute(host: Host, costs: JobCosts) -> tuple[float, str]:
    """What the host does, and what ends first."""
    name, per_s = min(limits(host, costs).items(), key=lambda limit: limit[1])
    return per_s * _MINUTE_S, name


def waiting_s(host: Host, costs: JobCosts, ahead: int) -> float:
    """How long a new order waits for its submission behind so many others, by Little's law."""
    per_minute, _ = jobs_per_minute(host, costs)
    return ahead / per_minute * _MINUTE_S


def database_bytes(costs: JobCosts, jobs_per_day: float, *, days: float, pictures_kept_days: float) -> float:
    """How large the database is after so many days, from an empty one."""
    return jobs_per_day * (costs.row_bytes * days + costs.picture_bytes * min(days, pictures_kept_days))
