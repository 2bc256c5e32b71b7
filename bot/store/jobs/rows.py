"""Converts between rows and values: jobs, what a stage learned about one, entries of the ledger.

Fields and columns have the same names; only what differs in type is spelled out.
"""

import math
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, TextClause, func, select

from bot.domain.jobs import FailureDetail, FailureReason, Job, JobState, JobUpdate, Order, Resolution
from bot.domain.ledger import Amounts, Entry, EntryKind, is_plausible_cost
from bot.store.engine import Connection
from bot.store.schema import jobs

MAX_MONEY_DIGITS = 30
"""How many digits an amount may have, and how far from the point its first one may be; others are implausible."""

RELEASED: dict[str, Any] = {"lease_token": None, "lease_until": None, "claim_count": 0}
"""The columns of a job that no worker holds."""

_ORDER_FIELDS = [field.name for field in fields(Order)]
_JOB_FIELDS = [field.name for field in fields(Job) if field.name != "order"]
_JOB_COLUMNS = [jobs.c[name] for name in (*_JOB_FIELDS, *_ORDER_FIELDS)]


def select_jobs() -> Select[Any]:
    """A SELECT of what `job_of` reads."""
    return select(*_JOB_COLUMNS)


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
    """The job in a row of `select_jobs`."""
    order = {name: getattr(row, name) for name in _ORDER_FIELDS}
    job = {name: getattr(row, name) for name in _JOB_FIELDS}
    order["resolution"] = Resolution(row.resolution)
    job["state"] = JobState(row.state)
    job["failure_reason"] = None if row.failure_reason is None else FailureReason(row.failure_reason)
    job["failure_detail"] = None if row.failure_detail is None else FailureDetail.from_text(row.failure_detail)
    return Job(order=Order(**order), **job)


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
    columns = {field.name: getattr(update, field.name) for field in fields(update)}
    if update.progress is not None and not math.isfinite(update.progress):
        del columns["progress"]
    if update.cost_usd is not None and not _is_sane(update.cost_usd):
        del columns["cost_usd"]
    return {name: value for name, value in columns.items() if value is not None}


def _is_sane(amount: Decimal) -> bool:
    digits = max(abs(amount.adjusted()), len(amount.as_tuple().digits)) if amount.is_finite() else MAX_MONEY_DIGITS
    return is_plausible_cost(amount) and digits <= MAX_MONEY_DIGITS


def entry_of(row: Row[Any]) -> Entry:
    """The entry in a row of `ledger`."""
    entry = {field.name: getattr(row, field.name) for field in fields(Entry) if field.name != "amounts"}
    return Entry(**entry | {"kind": EntryKind(row.kind)}, amounts=Amounts(row.videos, row.credits, row.usd))
