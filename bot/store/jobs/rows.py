"""Converts between rows and values: jobs, what a stage learned about one, entries of the ledger.

Fields and columns have the same names; only what differs in type is spelled out.
"""

import math
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, TextClause, func, select

from bot.domain.jobs import (
    FailureDetail,
    FailureReason,
    Job,
    JobState,
    Order,
    ProviderName,
    Resolution,
    StopResult,
)
from bot.domain.ledger import Amounts, Entry, EntryKind, is_plausible_cost
from bot.domain.outcomes import JobUpdate
from bot.store.engine import Connection
from bot.store.schema import jobs

MAX_MONEY_DIGITS = 30
"""How many digits an amount may have, and how far from the point its first one may be; others are implausible."""

RELEASED: dict[str, Any] = {"lease_token": None, "lease_until": None, "claim_count": 0}
"""The columns of a job that no worker holds."""

_ORDER_FIELDS = [field.name for field in fields(Order)]
_JOB_FIELDS = [field.name for field in fields(Job) if field.name != "order"]
_STATE, _FAILURE_REASON, _FAILURE_DETAIL, _PROVIDER, _STOP_RESULT = map(
    _JOB_FIELDS.index, ("state", "failure_reason", "failure_detail", "provider", "stop_result")
)
_RESOLUTION = _ORDER_FIELDS.index("resolution")
_ORDER = [field.name for field in fields(Job)].index("order")
_UPDATE_FIELDS = [field.name for field in fields(JobUpdate) if field.name in jobs.c]

JOB_COLUMNS = [jobs.c[name] for name in (*_JOB_FIELDS, *_ORDER_FIELDS)]
"""What `job_of` reads."""


def select_jobs() -> Select[Any]:
    """A SELECT of what `job_of` reads."""
    return select(*JOB_COLUMNS)


async def fetch_job(connection: Connection, *where: ColumnElement[bool], lock: bool = False) -> Job | None:
    """The one job that matches; with `lock`, nobody else changes it until the transaction ends."""
    query = select_jobs().where(*where)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if row is None else job_of(row)


async def read_job(connection: Connection, job_id: str) -> Job:
    """The job, which exists."""
    return job_of((await connection.execute(select_jobs().where(jobs.c.id == job_id))).one())


async def count_jobs(connection: Connection, *where: ColumnElement[bool] | TextClause) -> int:
    """How many jobs match."""
    return (await connection.execute(select(func.count()).select_from(jobs).where(*where))).scalar_one()


def job_of(row: Row[Any]) -> Job:
    """The job in a row of `JOB_COLUMNS`."""
    # By position, since the worker reads hundreds a second.
    job, order = list(row[: len(_JOB_FIELDS)]), list(row[len(_JOB_FIELDS) : len(JOB_COLUMNS)])
    order[_RESOLUTION] = Resolution(order[_RESOLUTION])
    job[_STATE] = JobState(job[_STATE])
    if (reason := job[_FAILURE_REASON]) is not None:
        job[_FAILURE_REASON] = FailureReason(reason)
    if (detail := job[_FAILURE_DETAIL]) is not None:
        job[_FAILURE_DETAIL] = FailureDetail.from_text(detail)
    if (provider := job[_PROVIDER]) is not None:
        job[_PROVIDER] = ProviderName(provider)
    if (result := job[_STOP_RESULT]) is not None:
        job[_STOP_RESULT] = StopResult(result)
    job.insert(_ORDER, Order(*order))
    return Job(*job)


def state_columns(state: JobState, now: datetime) -> dict[str, Any]:
    """The columns of a job that enters a state: due at once, held by no worker, its cost not in question."""
    return {
        **RELEASED,
        "state": state,
        "state_changed_at": now,
        "due_at": now,
        "attempts": 0,
        "cost_unknown_since": None,
    }


def update_columns(update: JobUpdate) -> dict[str, Any]:
    """The columns of what a stage learned. A value that is None or implausible leaves its column as it is."""
    columns = {name: value for name in _UPDATE_FIELDS if (value := getattr(update, name)) is not None}
    if update.progress is not None and not math.isfinite(update.progress):
        del columns["progress"]
    if update.cost_usd is not None and not _is_sane(update.cost_usd):
        del columns["cost_usd"]
    return columns


def _is_sane(amount: Decimal) -> bool:
    digits = max(abs(amount.adjusted()), len(amount.as_tuple().digits)) if amount.is_finite() else MAX_MONEY_DIGITS
    return is_plausible_cost(amount) and digits <= MAX_MONEY_DIGITS


def entry_of(row: Row[Any]) -> Entry:
    """The entry in a row of `ledger`."""
    entry = {field.name: getattr(row, field.name) for field in fields(Entry) if field.name != "amounts"}
    return Entry(**entry | {"kind": EntryKind(row.kind)}, amounts=Amounts(row.videos, row.credits, row.usd))
