"""Turns rows into frozen jobs and what a step learned into columns: the border between tables and values."""

import math
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, Select, select

from bot.domain.jobs import FailureDetail, FailureReason, Job, JobState, JobUpdate, NewJob, Order, Resolution
from bot.domain.ledger import Entry, EntryKind, Sums, believable
from bot.store.jobs.admission import Admitted
from bot.store.schema import jobs

MAX_MONEY_DIGITS = 30
"""How many digits an amount may have, and how far from the point the first one may stand; nonsense is not kept."""

_NOT_IN_A_JOB = {"raw", "lease_until"}
_JOB_COLUMNS = [column for column in jobs.c if column.name not in _NOT_IN_A_JOB]


def select_jobs() -> Select[Any]:
    """A SELECT of what `job_of` reads."""
    return select(*_JOB_COLUMNS)


def job_of(row: Row[Any]) -> Job:
    """The job that a row of `select_jobs` holds."""
    return Job(
        id=row.id,
        state=JobState(row.state),
        guild_id=row.guild_id,
        channel_id=row.channel_id,
        user_id=row.user_id,
        order=Order(
            prompt=row.prompt,
            negative_prompt=row.negative_prompt,
            resolution=Resolution(row.resolution),
            seed=row.seed,
            prompt_extend=row.prompt_extend,
            watermark=row.watermark,
        ),
        created_at=row.created_at,
        state_since=row.state_since,
        due_at=row.due_at,
        counted=row.counted,
        cancel_requested=row.cancel_requested,
        attempts=row.attempts,
        claims=row.claims,
        lease_token=row.lease_token,
        upstream_id=row.upstream_id,
        submitted_at=row.submitted_at,
        progress=row.progress,
        result_url=row.result_url,
        cost_usd=row.cost_usd,
        failure=None if row.failure is None else FailureReason(row.failure),
        failure_detail=None if row.failure_detail is None else FailureDetail.from_text(row.failure_detail),
        status_message_id=row.status_message_id,
        result_message_id=row.result_message_id,
        review_message_id=row.review_message_id,
        estimate_usd=row.estimate_usd,
        grant_id=row.grant_id,
    )


def new_row(new: NewJob, admitted: Admitted, now: datetime) -> dict[str, Any]:
    """The columns of a job that was just accepted: due at once, on its member's quota."""
    return {
        "id": new.id,
        "state": admitted.state,
        "guild_id": new.guild_id,
        "channel_id": new.channel_id,
        "user_id": new.user_id,
        "prompt": new.order.prompt,
        "negative_prompt": new.order.negative_prompt,
        "resolution": new.order.resolution,
        "seed": new.order.seed,
        "prompt_extend": new.order.prompt_extend,
        "watermark": new.order.watermark,
        "created_at": now,
        "state_since": now,
        "due_at": now,
        "counted": True,
        "cancel_requested": False,
        "attempts": 0,
        "claims": 0,
        "estimate_usd": admitted.estimate,
        "grant_id": admitted.grant_id,
    }


def fact_columns(facts: JobUpdate) -> dict[str, Any]:
    """The columns of what was learned; what is None stands as it was."""
    columns = {
        "upstream_id": facts.upstream_id,
        "submitted_at": facts.submitted_at,
        "progress": facts.progress if facts.progress is not None and math.isfinite(facts.progress) else None,
        "result_url": facts.result_url,
        "cost_usd": facts.cost_usd if facts.cost_usd is not None and _is_sane(facts.cost_usd) else None,
        "raw": facts.raw,
        "status_message_id": facts.status_message_id,
        "result_message_id": facts.result_message_id,
        "review_message_id": facts.review_message_id,
    }
    return {name: value for name, value in columns.items() if value is not None}


def _is_sane(amount: Decimal) -> bool:
    digits = max(abs(amount.adjusted()), len(amount.as_tuple().digits)) if amount.is_finite() else MAX_MONEY_DIGITS
    return believable(amount) and digits <= MAX_MONEY_DIGITS


def entry_of(row: Row[Any]) -> Entry:
    """The line of the ledger that the row holds."""
    return Entry(
        kind=EntryKind(row.kind),
        guild_id=row.guild_id,
        user_id=row.user_id,
        at=row.at,
        counts_at=row.counts_at,
        sums=Sums(row.videos, row.credits, row.usd),
        why=row.why,
        job_id=row.job_id,
        grant_id=row.grant_id,
        by=row.by,
    )
