"""All that is known of one job's past, and the events that follow from it, in order. Pure.

No table has every transition of a job. Its row knows when it was ordered, given to a provider, submitted, last
seen running and last changed; the ledger, the audit log and pending notifications know the rest.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from bot.domain.audit_log import AuditEntry
from bot.domain.jobs import Job, JobState
from bot.domain.ledger import Entry


class Happened(StrEnum):
    """What an event is."""

    ORDERED = "ordered"
    GIVEN = "given"  # to its provider
    SUBMITTED = "submitted"
    SEEN_RUNNING = "seen_running"  # by the latest poll that said so
    COST_UNKNOWN = "cost_unknown"  # since then its reservation is held
    ENTERED = "entered"  # the state that it has now
    ENTRY = "entry"  # of the ledger
    ACTION = "action"  # of a member, an admin or the operator, as the audit log has it
    NOTIFIED = "notified"  # a notification about it was written, and isn't posted yet


@dataclass(frozen=True, slots=True)
class PendingNotification:
    """A notification that is still to be posted. kind: see `bot.domain.notifications`."""

    kind: str
    created_at: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job and what is stored about it.

    entries, actions, notifications: oldest first. response: what its provider said last, as it was kept. place: in
    the queue. holder, lease_until: the process that holds it, where that is known, and until when. card_state,
    card_edited_at: what its status card says, and since when. picture_bytes: the size of its picture, None if it
    has none any more. parent_id: the job whose video it goes on from. position, size: which variation it is.
    """

    job: Job
    entries: tuple[Entry, ...] = ()
    response: Mapping[str, Any] | None = None
    actions: tuple[AuditEntry, ...] = ()
    notifications: tuple[PendingNotification, ...] = ()
    place: int | None = None
    holder: str | None = None
    lease_until: datetime | None = None
    card_state: JobState | None = None
    card_edited_at: datetime | None = None
    picture_bytes: int | None = None
    parent_id: str | None = None
    position: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job. about: which entry, action, notification or state it is."""

    at: datetime
    what: Happened
    about: Entry | AuditEntry | PendingNotification | JobState | None = None


def history(record: JobRecord) -> tuple[Event, ...]:
    """What is known to have happened, oldest first."""
    # Those of one moment stay in this order: a job is ordered before its ledger entry is written.
    return tuple(sorted(_events(record), key=lambda event: event.at))


def _events(record: JobRecord) -> Iterator[Event]:
    job = record.job
    yield Event(job.created_at, Happened.ORDERED)
    for moment, what in (
        (job.provider_since, Happened.GIVEN),
        (job.submitted_at, Happened.SUBMITTED),
        (job.seen_running_at, Happened.SEEN_RUNNING),
    ):
        if moment is not None:
            yield Event(moment, what)
    if job.state_changed_at > job.created_at:
        yield Event(job.state_changed_at, Happened.ENTERED, job.state)
    if job.cost_unknown_since is not None:
        yield Event(job.cost_unknown_since, Happened.COST_UNKNOWN)
    for entry in record.entries:
        yield Event(entry.created_at, Happened.ENTRY, entry)
    for action in record.actions:
        yield Event(action.created_at, Happened.ACTION, action)
    for notification in record.notifications:
        yield Event(notification.created_at, Happened.NOTIFIED, notification)
