"""The store of jobs: accepts them, hands them out under a lease, writes what became of them.

Each method is one transaction and takes the current time as an argument; leases go by the server's own, where
several processes share one. Every write that moves a job is guarded by its state and, for workers, by the lease
token: a worker that lost its lease changes nothing and learns so.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select

from bot.domain.errors import CommitUnknown, QuotaRefused, RuleRefused, StoreError
from bot.domain.extensions import Extension
from bot.domain.guilds import GuildSettings, OperatorDefaults
from bot.domain.jobs import (
    ENDED,
    CancelResult,
    Frame,
    Job,
    JobState,
    NewJob,
    Order,
    ProviderName,
    may_become,
)
from bot.domain.limits import Allowance
from bot.domain.notifications import AnswerLost
from bot.domain.outcomes import Fail, MoveTo, Outcome, PauseSubmissions, Reschedule
from bot.domain.policy import Consequence, Requester
from bot.domain.provider_limits import ProviderLimits
from bot.domain.quotes import Quote
from bot.domain.repeats import KeptFrame
from bot.domain.video_list import VideoFilter
from bot.store.engine import Database
from bot.store.guilds import guild_settings, violations
from bot.store.jobs import (
    acceptance,
    admission,
    leasing,
    pictures,
    recovery,
    refusals,
    rescheduling,
    submission_gate,
    submissions,
    transitions,
    variations,
)
from bot.store.jobs.due import ANYTHING, DueFor, Times
from bot.store.jobs.history import MemberHistory
from bot.store.jobs.rows import fetch_job
from bot.store.jobs.submission_gate import Gate
from bot.store.outbox import notifications
from bot.store.schema import first_frames, jobs

COMMIT_CHECK_DELAYS_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Delays between checks whether a commit without a reply was written; a member waits meanwhile."""


class JobStore:
    """Jobs in a database. Every method raises StoreError where the database fails. history: members' own jobs."""

    def __init__(self, db: Database, operator_defaults: OperatorDefaults | None = None) -> None:
        self._db = db
        self._operator_defaults = operator_defaults or OperatorDefaults()
        self._uncertain_claims: list[Job] = []
        self.history = MemberHistory(db)

    async def add(
        self,
        new: NewJob,
        frame: Frame | KeptFrame,
        requester: Requester,
        now: datetime,
        *,
        extends: Extension | None = None,
    ) -> Job:
        """Accepts a job with its first frame and its reservation, if policy and limits allow it.

        Simultaneous calls take turns, so they can't pass a limit together. A job with a kept picture, or one
        that extends another, is accepted once, however often it is added.
        Raises: RuleRefused, QuotaRefused; NotPossible if its picture is not kept any more; StoreError if it was
        not accepted, CommitUnknown if that is unknown.
        """
        return (await self.add_together([new], frame, requester, now, extends=extends))[0]

    async def add_together(
        self,
        news: Sequence[NewJob],
        frame: Frame | KeptFrame,
        requester: Requester,
        now: datetime,
        *,
        extends: Extension | None = None,
    ) -> list[Job]:
        """Like `add`, for variations of one order: accepts all of them or none. extends: what they go on from."""
        # Again, as the terms may have changed while the picture was prepared; quick, as the search is cached.
        await admission.refuse_blocked_prompt(self._db, requester, news[0].order.prompt)
        try:
            return await self._add(news, frame, requester, now, extends)
        except CommitUnknown as error:
            written = await self._written(news[0].id)
            if written is None:
                raise StoreError(str(error)) from error
            return [written, *[job for new in news[1:] if (job := await self.get(new.id)) is not None]]

    async def _add(
        self,
        news: Sequence[NewJob],
        frame: Frame | KeptFrame,
        requester: Requester,
        now: datetime,
        extends: Extension | None,
    ) -> list[Job]:
        async with self._db.write() as connection:
            if isinstance(frame, KeptFrame) or extends is not None:
                await guild_settings.lock_operator_state(connection)
                if (earlier := await fetch_job(connection, jobs.c.id == news[0].id)) is not None:
                    return await variations.ordered_with(connection, earlier.id) or [earlier]
            rules = self._operator_defaults
            admitted = await admission.admit(
                connection, rules, requester, news[0].order, now, lock=True, count=len(news)
            )
            return await acceptance.write(connection, news, frame, admitted, rules, now, extends)

    async def _written(self, job_id: str) -> Job | None:
        """The job, if a transaction without a reply wrote it. Raises CommitUnknown."""
        detail = ""
        for pause_s in COMMIT_CHECK_DELAYS_S:
            await asyncio.sleep(pause_s)
            try:
                async with self._db.write() as connection:
                    # That transaction holds this lock until it ends.
                    await guild_settings.operator_state_of(connection, lock=True)
                    return await fetch_job(connection, jobs.c.id == job_id)
            except StoreError as error:
                detail = str(error)
        raise CommitUnknown(detail)

    async def check(
        self, requester: Requester, order: Order, now: datetime, *, arriving: int, count: int = 1
    ) -> Quote | None:
        """Checks whether the order would be accepted now; returns what it would take, see `quote`.

        arriving: the member's other videos that are being accepted. count: how many this order is for.
        Raises: RuleRefused, QuotaRefused.
        """
        async with self._db.read() as connection:
            admitted = await admission.admit(
                connection,
                self._operator_defaults,
                requester,
                order,
                now,
                lock=False,
                count=count,
                arriving=arriving,
            )
        await admission.refuse_blocked_prompt(self._db, requester, order.prompt)
        return admitted.quote

    async def quote(self, requester: Requester, order: Order, now: datetime) -> Quote | None:
        """What the order would take now, whatever its prompt; None where the server shows no quotes.

        Raises: RuleRefused, QuotaRefused.
        """
        async with self._db.read() as connection:
            return await admission.quote(connection, self._operator_defaults, requester, order, now)

    async def record_violation(self, requester: Requester, prompt: str, now: datetime) -> Consequence:
        """Counts a blocked prompt of the member's; returns what follows from it."""
        async with self._db.write() as connection:
            guild = await guild_settings.get(connection, requester.guild_id)
            ban = await violations.add(connection, guild, requester.user_id, now, prompt=prompt)
            return Consequence(ban, await violations.remaining(connection, guild, requester.user_id, now))

    async def report_refusal(
        self, requester: Requester, refused: QuotaRefused | RuleRefused, now: datetime, *, prompt: str
    ) -> bool:
        """Notifies the server's moderators of a refusal; see `bot.store.jobs.refusals`."""
        return await refusals.report(self._db, requester, refused, now, prompt=prompt)

    async def settings_of_guild(self, guild_id: int) -> GuildSettings:
        """What the server's admins have set."""
        async with self._db.read() as connection:
            return (await guild_settings.get(connection, guild_id)).settings

    async def allowance(self, requester: Requester, now: datetime) -> Allowance:
        """The member's limits and usage in the server."""
        async with self._db.read() as connection:
            return await admission.allowance(connection, self._operator_defaults, requester, now)

    async def get(self, job_id: str) -> Job | None:
        """The job, if it exists."""
        async with self._db.read() as connection:
            return await fetch_job(connection, jobs.c.id == job_id)

    async def ordered_with(self, job_id: str) -> list[Job]:
        """The job and its variations, in their order; nothing if it was ordered alone."""
        async with self._db.read() as connection:
            return await variations.ordered_with(connection, job_id)

    async def frame(self, job_id: str) -> Frame | None:
        """The job's first frame; None once it is deleted."""
        columns = select(first_frames.c.data, first_frames.c.mime, first_frames.c.thumbnail)
        query = columns.where(first_frames.c.job_id == job_id)
        async with self._db.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Frame(row.data, row.mime, row.thumbnail)

    async def with_pictures(self, job_ids: Collection[str]) -> frozenset[str]:
        """Those of the jobs that still have their picture."""
        async with self._db.read() as connection:
            return await pictures.those_with_one(connection, job_ids)

    async def recent(self, guild_id: int, user_id: int, limit: int) -> list[Job]:
        """A member's latest jobs in a server, newest first."""
        return await self.history.newest(guild_id, user_id, VideoFilter.ALL, limit)

    async def claim_due(
        self,
        now: datetime,
        limit: int,
        leases: Mapping[JobState, timedelta],
        held: Collection[Job] = (),
        *,
        expired: bool = True,
        kinds: Collection[DueFor] = ANYTHING,
    ) -> list[Job]:
        """Claims up to `limit` due jobs, from each server in turn, the longest due first.

        leases: the lease for each state. An ended job is due until its end was announced. held: jobs that the
        caller is still working on; it keeps them even if their lease ran out. expired: also claim jobs whose lease
        ran out. kinds: only jobs that are due for this.
        """
        async with self._db.write() as connection:
            kept = [*held, *self._uncertain_claims]
            times = Times(now, await self._db.lease_time(connection, now), expired)
            return await leasing.claim_due(connection, times, limit, leases, kept, kinds)

    async def claim_queued(
        self, now: datetime, providers: Sequence[ProviderLimits], lease: timedelta
    ) -> Job | None:
        """Claims the next job to submit and moves it to `submitting`; None if none may be submitted.

        providers: the first that takes the job now gets it: it is open, with a free slot and room in its budget.
        """
        if self._uncertain_claims:
            return await self._claimed_before(now, lease)
        waiting = submissions.NO_JOBS
        for limits in providers:
            job, ids = await self._claim_queued_for(limits, now, lease, waiting)
            if job is not None:
                return job
            waiting |= ids
        return None

    async def _claim_queued_for(
        self, limits: ProviderLimits, now: datetime, lease: timedelta, elsewhere: frozenset[str]
    ) -> tuple[Job | None, frozenset[str]]:
        """Claims the next job for a provider, or tells which wait for it. elsewhere: which wait for another."""
        job: Job | None = None
        try:
            async with self._db.write() as connection:
                if not await submissions.is_any_waiting(connection):
                    return None, submissions.NO_JOBS
                lease_now = await self._db.lease_time(connection, now)
                job = await submissions.claim_queued(connection, now, lease_now, limits, lease, elsewhere)
                if job is None:
                    return None, await submissions.waiting_for(connection, limits, now, elsewhere)
        except CommitUnknown:
            if job is not None:
                # Nothing was sent yet, but once its lease ran out it would count as submitted.
                self._uncertain_claims.append(job)
            raise
        return job, submissions.NO_JOBS

    async def _claimed_before(self, now: datetime, lease: timedelta) -> Job | None:
        """The job of a claim without a reply, under a new lease; None if it was not claimed."""
        job = self._uncertain_claims[-1]
        held = await self.renew([job], now, {JobState.SUBMITTING: lease})
        self._uncertain_claims.remove(job)
        return job if job.id in held else None

    async def next_due_at(
        self, now: datetime, providers: Sequence[ProviderLimits], kinds: Collection[DueFor] = ANYTHING
    ) -> datetime | None:
        """The earliest time at which a claim would find a job; None if none waits."""
        async with self._db.read() as connection:
            times = Times(now, await self._db.lease_time(connection, now))
            return await leasing.next_due_at(connection, times, providers, kinds)

    async def renew(
        self, jobs: Sequence[Job], now: datetime, leases: Mapping[JobState, timedelta]
    ) -> frozenset[str]:
        """Renews the leases of these jobs; returns the ids of those still held, even if expired."""
        async with self._db.write() as connection:
            ids = await transitions.lock_held(connection, jobs)
            held = [job for job in jobs if job.id in ids]
            await leasing.renew(connection, held, await self._db.lease_time(connection, now), leases)
        return frozenset(ids)

    async def free_leases(self) -> int:
        """Ends all leases when the only process on this database starts; returns how many jobs had one.

        A job in submission still ends as outcome unknown: its claim count stays.
        """
        async with self._db.write() as connection:
            return await leasing.end_all(connection)

    async def release(self, jobs: Sequence[Job]) -> None:
        """Gives leases back; the jobs are due again at once."""
        async with self._db.write() as connection:
            await leasing.release(connection, await transitions.lock_held(connection, jobs))

    async def return_unsent(self, job: Job, now: datetime) -> bool:
        """Moves a job in submission back to the queue; False if the lease was lost.

        Only for one whose request was certainly not sent.
        """
        async with self._db.write() as connection:
            return await transitions.move(connection, job, MoveTo(JobState.QUEUED), now)

    async def apply(self, job: Job, outcome: Outcome, now: datetime) -> bool:
        """Writes a stage's outcome; False if the lease was lost and nothing was written.

        A task is never thrown away: if the job failed meanwhile with an unknown outcome, it resumes, uncharged.
        If the member cancelled meanwhile, the job is due at once, so that the next stage sees it; instead of going
        back to the queue it ends as cancelled, uncharged.
        Raises ValueError for a move that the transition table does not allow, and for an ended job, which only
        `resume_failed_job` may resume.
        """
        if isinstance(outcome, Reschedule):
            return await self.reschedule([(job, outcome)], now) == 1
        if job.state in ENDED or not may_become(job.state, transitions.target_state(outcome)):
            raise ValueError(f"job {job.id} can't go from {job.state} to {transitions.target_state(outcome)}")
        async with self._db.write() as connection:
            hold = outcome.pause if isinstance(outcome, Fail) else outcome
            if isinstance(hold, PauseSubmissions) and job.provider is not None:
                # With or without the lease: the provider's answer concerns all jobs.
                await submission_gate.close(connection, job.provider, hold.until, hold.reason, now)
            moved = await transitions.move(connection, job, outcome, now)
            if not moved and job.state is JobState.SUBMITTING and isinstance(outcome, MoveTo):
                # Another process took this worker for dead, but it is alive and has the missing response.
                return await recovery.accept_late_response(connection, job, outcome, now)
            if moved and isinstance(outcome, Fail) and outcome.pause is not None:
                alert = AnswerLost(job.id, outcome.pause.reason)
                await notifications.post_to_operator(connection, alert, now)
            return moved

    async def reschedule(self, batch: Sequence[tuple[Job, Reschedule]], now: datetime) -> int:
        """Reschedules many jobs at once; returns how many still held their lease."""
        async with self._db.write() as connection:
            return await rescheduling.reschedule(connection, batch, now)

    async def cancel(self, job_id: str, now: datetime, *, even_if_paid: bool) -> CancelResult:
        """Ends a queued job at once, uncharged; flags one in progress, for its stage to end it.

        even_if_paid: without it, a job in progress, and so paid for, is left alone.
        """
        async with self._db.write() as connection:
            return await transitions.cancel(connection, job_id, now, even_if_paid=even_if_paid)

    async def recheck_queued(self, now: datetime) -> None:
        """Makes the status cards of all queued jobs due: each is submitted only after Discord took it again."""
        async with self._db.write() as connection:
            await transitions.show_all_queued(connection, now)

    async def mark_removed(self, job_id: str, message_id: int, now: datetime) -> bool:
        """Records that this message with the job's video was removed; the job is due, to say so in its status.

        False if it isn't this job's video. A worker that is posting, or showing the job's end, loses its lease.
        """
        async with self._db.write() as connection:
            return await transitions.mark_removed(connection, job_id, message_id, now)

    async def gate(self, provider: ProviderName) -> Gate:
        """Whether jobs may be submitted to a provider, and why not."""
        async with self._db.read() as connection:
            return await submission_gate.get_gate(connection, provider)

    async def first_gate(self, now: datetime, model: str | None = None) -> Gate:
        """The gate that decides whether orders (of this model) wait: an open one, else the first to open."""
        async with self._db.read() as connection:
            gates = await submissions.gates(connection, self._operator_defaults, now)
        return submissions.gate_of_model(gates, self._operator_defaults.catalog, model, now)

    async def open_gate(self, provider: ProviderName, now: datetime) -> None:
        """Clears the gate's failures after a successful submission; writes nothing if there were none.

        A gate that closed during that submission stays closed.
        """
        if (await self.gate(provider)).failures == 0:
            return
        async with self._db.write() as connection:
            await submission_gate.reopen(connection, provider, now)
