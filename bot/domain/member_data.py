"""What is kept about one member, over all servers, and its export. Pure.

The export has a version and the same keys for everybody; docs/commands.md explains them. It holds only the
member's own data, so it leaves out who banned them or gave them credits, and others' ids in texts by admins.
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
from bot.domain.member_settings import MemberSettings
from bot.domain.variations import Variation

VERSION = 1
"""The export's version: goes up when a key changes its meaning or is removed."""

_ID = re.compile(r"[0-9]{15,20}")
"""What may be a Discord id."""


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long data is kept. days: after a job's end. days_after_leaving: after a server removed the bot.

    days_of_pictures: after the end of their jobs.
    """

    days: int
    days_after_leaving: int
    days_of_pictures: int = 30


@dataclass(frozen=True, slots=True)
class Erasure:
    """A member's request to erase all data that existed at `asked_at`."""

    user_id: int
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job, the upstream's last response about it, and its place among those that were ordered with it.

    extends: the id of the job whose video it goes on from.
    """

    job: Job
    answer: Any
    variation: Variation | None = None
    extends: str | None = None


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """The picture of a job, as the model gets it. ended_at: since when it is only kept."""

    job_id: str
    mime: str
    size_bytes: int
    ended_at: datetime | None


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
    changes: what they changed as an admin. settings: what they chose for all their videos; None if nothing.
    asked_at: when they asked for their data to go, while that is under way. left_out: how many of each kind did
    not fit.
    """

    user_id: int
    jobs: tuple[StoredJob, ...] = ()
    pictures: tuple[StoredPicture, ...] = ()
    entries: tuple[Entry, ...] = ()
    grants: tuple[StoredGrant, ...] = ()
    bans: tuple[Ban, ...] = ()
    violations: tuple[tuple[int, datetime], ...] = ()
    limits: tuple[tuple[int, LimitOverrides], ...] = ()
    changes: tuple[AuditEntry, ...] = ()
    settings: MemberSettings | None = None
    asked_at: datetime | None = None
    left_out: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class ErasurePreview:
    """What a deletion will meet. jobs: over already. waiting: cancelled free. in_progress: paid for, not posted.

    pictures: of jobs that are over. credits: videos that are given up. has_settings: whether they chose any.
    asked_at: when they asked before, while that is still under way.
    """

    jobs: int
    waiting: int
    in_progress: int
    credits: int
    asked_at: datetime | None
    pictures: int = 0
    has_settings: bool = False


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


def export_document(data: MemberData, at: datetime) -> dict[str, Any]:
    """The export as JSON values. Ids and amounts are text, since many JSON parsers round long numbers."""
    own = str(data.user_id)
    return {
        "format": "zoetrope-member-data",
        "version": VERSION,
        "exported_at": _time(at),
        "user_id": own,
        "deletion_asked_at": _time(data.asked_at),
        "left_out": dict(data.left_out or {}),
        "videos": [_job(stored) for stored in data.jobs],
        "pictures": [
            {
                "video_id": picture.job_id,
                "type": picture.mime,
                "bytes": picture.size_bytes,
                "video_over_at": _time(picture.ended_at),
            }
            for picture in data.pictures
        ],
        "ledger": [_entry(entry, own) for entry in data.entries],
        "credits": [
            {
                "id": grant.id,
                "server_id": str(grant.guild_id),
                "left": grant.left,
                "given_at": _time(grant.created_at),
                "expires_at": _time(grant.expires_at),
            }
            for grant in data.grants
        ],
        "bans": [
            {
                "server_id": str(ban.guild_id),
                "reason": _without_other_ids(ban.reason, own),
                "at": _time(ban.created_at),
                "until": _time(ban.expires_at),
            }
            for ban in data.bans
        ],
        "blocked_prompts": [{"server_id": str(guild_id), "at": _time(at)} for guild_id, at in data.violations],
        "own_limits": [
            {
                "server_id": str(guild_id),
                "videos": tier.videos_per_window,
                "running": tier.max_active,
                "pause_seconds": tier.cooldown_s,
            }
            for guild_id, tier in data.limits
        ],
        "settings": None if data.settings is None else _settings(data.settings),
        "changes_made": [
            # Without the values before and after, which may be about others, such as a ban's reason.
            {"server_id": str(change.guild_id), "at": _time(change.created_at), "what": _action(change, own)}
            for change in data.changes
        ],
    }


def _job(stored: StoredJob) -> dict[str, Any]:
    job, variation = stored.job, stored.variation
    return {
        "id": job.id,
        "state": job.state.value,
        "server_id": str(job.guild_id),
        "channel_id": str(job.channel_id),
        "prompt": job.order.prompt,
        "negative_prompt": job.order.negative_prompt,
        "model": job.order.model,
        "resolution": job.order.resolution.value,
        "seconds": job.order.duration_s,
        "seed": job.order.seed,
        "prompt_extend": job.order.prompt_extend,
        "watermark": job.order.watermark,
        "variation_of": None if variation is None else variation.group_id,
        "variation": None if variation is None else variation.position,
        "variations": None if variation is None else variation.size,
        "picture_name": job.picture_name,
        "picture_alt_text": job.picture_alt_text,
        "extends": stored.extends,
        "asked_at": _time(job.created_at),
        "state_since": _time(job.state_changed_at),
        "submitted_at": _time(job.submitted_at),
        "seen_running_at": _time(job.seen_running_at),
        "progress": job.progress,
        "counted": job.charged,
        "cancelled_by_request": job.cancel_requested,
        "paid_with_credits": _id(job.credit_grant_id),
        "estimate_usd": _amount(job.estimated_cost_usd),
        "cost_usd": _amount(job.cost_usd),
        "failure": None if job.failure_reason is None else job.failure_reason.value,
        "failure_cause": None if job.failure_detail is None else job.failure_detail.cause.value,
        "failure_detail": None if job.failure_detail is None else job.failure_detail.quote,
        "service": None if job.provider is None else job.provider.value,
        "service_id": job.upstream_id,
        "service_result": job.result_url,
        "service_answer": stored.answer,
        "status_message_id": _id(job.status_message_id),
        "video_message_id": _id(job.result_message_id),
        "video_channel_id": _id(job.result_channel_id),
        "review_message_id": _id(job.approval_message_id),
    }


def _settings(settings: MemberSettings) -> dict[str, Any]:
    return {
        "ping": settings.pings,
        "direct_messages": settings.direct,
        "always_spoiler": settings.spoilers,
        "resolution": None if settings.resolution is None else settings.resolution.value,
        "prompt_extend": settings.prompt_extend,
        "watermark": settings.watermark,
        "changed_at": _time(settings.changed_at),
    }


def _entry(entry: Entry, own: str) -> dict[str, Any]:
    return {
        "kind": entry.kind.value,
        "server_id": str(entry.guild_id),
        "video_id": entry.job_id,
        "credits_id": _id(entry.credit_grant_id),
        "at": _time(entry.created_at),
        "counts_at": _time(entry.effective_at),
        "videos": entry.amounts.videos,
        "credits": entry.amounts.credits,
        "usd": _amount(entry.amounts.usd),
        "why": _without_other_ids(entry.reason, own),
    }


def _action(entry: AuditEntry, own: str) -> str:
    """The name of an admin's action, or the text of an entry from an older version."""
    what = entry.change.legacy_what
    return entry.change.action.value if what is None else _without_other_ids(what, own)


def _without_other_ids(text: str, own: str) -> str:
    """An admin's text, without the ids of others."""
    return _ID.sub(lambda match: match[0] if match[0] == own else "…", text)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _id(number: int | None) -> str | None:
    return None if number is None else str(number)


def _amount(usd: object) -> str | None:
    return None if usd is None else f"{usd:f}"
