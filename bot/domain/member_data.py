"""What is kept about one member, over all servers, and how an export writes it down.

Pure. The document has a version and the same keys for everybody; docs/commands.md explains them. It holds the
member's own data only: who banned them or gave them credits is somebody else's, and ids of others that stand
in a text of admins are blotted out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.domain.audit_log import AuditEntry
from bot.domain.guilds import Ban, LimitOverrides
from bot.domain.jobs import Job
from bot.domain.ledger import Entry

VERSION = 1
"""Of the export's shape: goes up when a key changes its meaning or goes away."""

_ID = re.compile(r"[0-9]{15,20}")
"""What may be somebody's id in Discord."""


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long data is kept. days: after a job's end. days_after_leaving: after a server removed the bot."""

    days: int
    days_after_leaving: int


@dataclass(frozen=True, slots=True)
class Erasure:
    """A member asked for their data to go: all that was there at `asked_at`."""

    user_id: int
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job, and the upstream's last answer about it."""

    job: Job
    answer: Any


@dataclass(frozen=True, slots=True)
class StoredGrant:
    """A grant of extra videos."""

    id: int
    guild_id: int
    left: int
    expires_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class MemberData:
    """All that is kept about a member; each kind newest first.

    violations: where and when a prompt was blocked. limits: what admins set for them alone, by server.
    changes: what they changed as an admin. asked_at: when they asked for their data to go, while that is under
    way. left_out: how many more there are of a kind than stand here.
    """

    user_id: int
    jobs: tuple[StoredJob, ...] = ()
    entries: tuple[Entry, ...] = ()
    grants: tuple[StoredGrant, ...] = ()
    bans: tuple[Ban, ...] = ()
    violations: tuple[tuple[int, datetime], ...] = ()
    limits: tuple[tuple[int, LimitOverrides], ...] = ()
    changes: tuple[AuditEntry, ...] = ()
    asked_at: datetime | None = None
    left_out: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class ErasurePreview:
    """What a deletion will meet. jobs: over already. waiting: cancelled free. in_progress: paid for, not posted.

    credits: videos that are given up. asked_at: when they asked before, while that is still under way.
    """

    jobs: int
    waiting: int
    in_progress: int
    credits: int
    asked_at: datetime | None


@dataclass(frozen=True, slots=True)
class ErasureResult:
    """What one call erased.

    jobs: anonymised. cancelled: jobs that were still waiting. in_progress: jobs that are flagged as cancelled and
    anonymised once they end. credits: videos written off. entries: anonymised ledger entries. done: nothing that
    the request covers is left.
    """

    jobs: int = 0
    cancelled: int = 0
    in_progress: int = 0
    credits: int = 0
    entries: int = 0
    done: bool = False


def export_document(held: MemberData, at: datetime) -> dict[str, Any]:
    """The export, as JSON takes it. Ids and amounts are text: many readers of JSON bend long numbers."""
    own = str(held.user_id)
    return {
        "format": "zoetrope-member-data",
        "version": VERSION,
        "exported_at": _time(at),
        "user_id": own,
        "deletion_asked_at": _time(held.asked_at),
        "left_out": dict(held.left_out or {}),
        "videos": [_job(it) for it in held.jobs],
        "ledger": [_entry(it, own) for it in held.entries],
        "credits": [
            {
                "id": it.id,
                "server_id": str(it.guild_id),
                "left": it.left,
                "given_at": _time(it.created_at),
                "expires_at": _time(it.expires_at),
            }
            for it in held.grants
        ],
        "bans": [
            {
                "server_id": str(it.guild_id),
                "reason": _blotted(it.reason, own),
                "at": _time(it.created_at),
                "until": _time(it.expires_at),
            }
            for it in held.bans
        ],
        "blocked_prompts": [{"server_id": str(guild_id), "at": _time(at)} for guild_id, at in held.violations],
        "own_limits": [
            {
                "server_id": str(guild_id),
                "videos": tier.videos_per_window,
                "running": tier.max_active,
                "pause_seconds": tier.cooldown_s,
            }
            for guild_id, tier in held.limits
        ],
        "changes_made": [
            # Without what stood before and after: that may be about others, as a ban's reason is.
            {"server_id": str(it.guild_id), "at": _time(it.at), "what": _what(it, own)}
            for it in held.changes
        ],
    }


def _job(held: StoredJob) -> dict[str, Any]:
    job = held.job
    return {
        "id": job.id,
        "state": job.state.value,
        "server_id": str(job.guild_id),
        "channel_id": str(job.channel_id),
        "prompt": job.order.prompt,
        "negative_prompt": job.order.negative_prompt,
        "resolution": job.order.resolution.value,
        "seed": job.order.seed,
        "prompt_extend": job.order.prompt_extend,
        "watermark": job.order.watermark,
        "asked_at": _time(job.created_at),
        "state_since": _time(job.state_changed_at),
        "submitted_at": _time(job.submitted_at),
        "progress": job.progress,
        "counted": job.charged,
        "cancelled_by_request": job.cancel_requested,
        "paid_with_credits": _id(job.credit_grant_id),
        "estimate_usd": _amount(job.estimated_cost_usd),
        "cost_usd": _amount(job.cost_usd),
        "failure": None if job.failure_reason is None else job.failure_reason.value,
        "failure_cause": None if job.failure_detail is None else job.failure_detail.cause.value,
        "failure_detail": None if job.failure_detail is None else job.failure_detail.quote,
        "service_id": job.upstream_id,
        "service_result": job.result_url,
        "service_answer": held.answer,
        "status_message_id": _id(job.status_message_id),
        "video_message_id": _id(job.result_message_id),
        "review_message_id": _id(job.approval_message_id),
    }


def _entry(entry: Entry, own: str) -> dict[str, Any]:
    return {
        "kind": entry.kind.value,
        "server_id": str(entry.guild_id),
        "video_id": entry.job_id,
        "credits_id": _id(entry.credit_grant_id),
        "at": _time(entry.created_at),
        "counts_at": _time(entry.effective_at),
        "videos": entry.sums.videos,
        "credits": entry.sums.credits,
        "usd": _amount(entry.sums.usd),
        "why": _blotted(entry.reason, own),
    }


def _what(entry: AuditEntry, own: str) -> str:
    """The name of what an admin did; of an entry of before, its old text."""
    what = entry.change.legacy_what
    return entry.change.action.value if what is None else _blotted(what, own)


def _blotted(text: str, own: str) -> str:
    """The text of an admin, without the ids of others."""
    return _ID.sub(lambda found: found[0] if found[0] == own else "…", text)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _id(number: int | None) -> str | None:
    return None if number is None else str(number)


def _amount(usd: object) -> str | None:
    return None if usd is None else f"{usd:f}"
