"""The store of jobs: accepts them, hands them out under a lease, writes what became of them.

Each method is one transaction, and takes the present moment instead of asking a clock. Every write that moves
a job is guarded by its state and, for the worker's writes, by the lease token: a writer whose lease was lost
changes nothing and is told so.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import insert, select

from bot import seams
from bot.domain.errors import CommitUnknown, QuotaRefused, RuleRefused, StoreError
from bot.domain.guilds import OperatorDefaults
from bot.domain.jobs import (
    ENDED,
    CancelResult,
    Fail,
    Frame,
    Job,
    JobState,
    MoveTo,
    NewJob,
    Order,
    Outcome,
    PauseSubmissions,
    Reschedule,
    Resolution,
    may_become,
)
from bot.domain.ledger import Entry, EntryKind, Sums
from bot.domain.limits import Allowance
from bot.domain.policy import Consequence, Requester, best_resolution
from bot.seams import MOVES, Moment, Seam
from bot.store.engine import Database
from bot.store.guilds import guild_settings, violations
from bot.store.jobs import admission, leasing, recovery, submission_gate, transitions
from bot.store.jobs.rows import job_of, new_row, select_jobs
from bot.store.jobs.submission_gate import Gate
from bot.store.money import ledger
from bot.store.outbox import operator_alerts, refusals
from bot.store.schema import frames, jobs

UNSURE_PAUSES_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Before each look whether an order was written whose commit was not answered; a member waits meanwhile."""


class JobStore:
    """Jobs in a database. Every method raises StoreError where the database fails."""

    def __init__(self, db: Database, operator_defaults: OperatorDefaults | None = None) -> None:
        self._db = db
        self._house_rules = operator_defaults or OperatorDefaults()
        self._unsure: list[Job] = []

    async def add(self, new: NewJob, frame: Frame, requester: Requester, now: datetime) -> Job:
        """Takes a job in, with its frame and its reservation, if rules and limits allow it.

        Simultaneous calls line up for the house's row, so that they never pass a limit together.
        Raises: RuleRefused, QuotaRefused; StoreError where it was not taken, CommitUnknown where nobody knows.
        """
        try:
            return await self._add(new, frame, requester, now)
        except CommitUnknown as error:
            job = await self._written(new.id)
            if job is None:
                raise StoreError(str(error)) from error
            return job

    async def _add(self, new: NewJob, frame: Frame, requester: Requester, now: datetime) -> Job:
        async with self._db.write(Seam.ADD) as connection:
            admitted = await admission.admit(connection, self._house_rules, requester, new.order, now, lock=True)
            await connection.execute(insert(jobs).values(new_row(new, admitted, now)))
            await connection.execute(insert(frames).values(job_id=new.id, mime=frame.mime, data=frame.data))
            await ledger.write(
                connection,
                Entry(
                    kind=EntryKind.RESERVE,
                    guild_id=new.guild_id,
                    user_id=new.user_id,
                    at=now,
                    counts_at=now,
                    sums=Sums(1, 0 if admitted.grant_id is None else -1, admitted.estimate),
                    why="accepted",
                    job_id=new.id,
                    grant_id=admitted.grant_id,
                    by=new.user_id,
                ),
            )
            await operator_alerts.after_acceptance(connection, self._house_rules, admitted.estimate, now)
            return job_of((await connection.execute(select_jobs().where(jobs.c.id == new.id))).one())

    async def _written(self, job_id: str) -> Job | None:
        """The job, if it was written by a transaction whose end is not known. Raises CommitUnknown."""
        said = ""
        for pause_s in UNSURE_PAUSES_S:
            await asyncio.sleep(pause_s)
            try:
                async with self._db.write() as connection:
                    # Held by that transaction for as long as it is not over.
                    await guild_settings.look_at_house(connection, lock=True)
                    row = (await connection.execute(select_jobs().where(jobs.c.id == job_id))).one_or_none()
                    return None if row is None else job_of(row)
            except StoreError as error:
                said = str(error)
        raise CommitUnknown(said)

    async def check(self, requester: Requester, order: Order, now: datetime, *, arriving: int) -> None:
        """Whether the order would be let in just now; `arriving`: the member's others on their way in.

        Raises: RuleRefused, QuotaRefused.
        """
        async with self._db.read() as connection:
            await admission.admit(
                connection, self._house_rules, requester, order, now, lock=False, arriving=arriving
            )

    async def strike(self, requester: Requester, prompt: str, now: datetime) -> Consequence:
        """Counts a blocked prompt of the member's; what follows from it."""
        async with self._db.write() as connection:
            guild = await guild_settings.get(connection, requester.guild_id)
            ban = await violations.add(connection, guild, requester.user_id, now, prompt=prompt)
            return Consequence(ban, await violations.left(connection, guild, requester.user_id, now))

    async def report_refusal(
        self, requester: Requester, refused: QuotaRefused | RuleRefused, now: datetime, *, prompt: str
    ) -> bool:
        """Has a refusal told to the server's moderators; see `bot.store.outbox.refusals`."""
        return await refusals.report(self._db, requester, refused, now, prompt=prompt)

    async def best_resolution(self, guild_id: int) -> Resolution:
        """What an order gets that names no resolution: the best that the server allows."""
        async with self._db.read() as connection:
            return best_resolution((await guild_settings.get(connection, guild_id)).settings.resolutions)

    async def allowance(self, requester: Requester, now: datetime) -> Allowance:
        """What the member may have and has used in the server."""
        async with self._db.read() as connection:
            return await admission.allowance(connection, self._house_rules, requester, now)

    async def get(self, job_id: str) -> Job | None:
        """The job as it stands now."""
        async with self._db.read() as connection:
            row = (await connection.execute(select_jobs().where(jobs.c.id == job_id))).one_or_none()
        return None if row is None else job_of(row)

    async def frame(self, job_id: str) -> Frame | None:
        """The job's first frame; None once it was handed in."""
        query = select(frames.c.data, frames.c.mime).where(frames.c.job_id == job_id)
        async with self._db.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Frame(row.data, row.mime)

    async def recent(self, guild_id: int, user_id: int, limit: int) -> list[Job]:
        """A member's latest jobs in a server, newest first."""
        query = (
            select_jobs()
            .where(jobs.c.guild_id == guild_id, jobs.c.user_id == user_id)
            .order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
            .limit(limit)
        )
        async with self._db.read() as connection:
            return [job_of(row) for row in await connection.execute(query)]

    async def claim_due(
        self,
        now: datetime,
        limit: int,
        leases: Mapping[JobState, timedelta],
        held: Collection[Job] = (),
        *,
        expired: bool = True,
    ) -> list[Job]:
        """Up to `limit` jobs of any state that want something done, the longest due first, under a new lease.

        leases: how long a job of each state is held. An ended job is due until its end was announced.
        held: jobs that the caller still works on; they are left to it even where their lease ran out.
        expired: also those whose lease ran out under somebody else.
        """
        async with self._db.write() as connection:
            mine = [*held, *self._unsure]
            due = await leasing.claim_due(connection, now, limit, leases, mine, expired=expired)
            seams.reached(Seam.CLAIM_DUE if due else None, Moment.BEFORE)
        seams.reached(Seam.CLAIM_DUE if due else None, Moment.AFTER)
        return due

    async def claim_queued(
        self, now: datetime, max_running: int, pause: timedelta, lease: timedelta
    ) -> Job | None:
        """The next job to hand in, moved to `submitting` and under a lease; None where none may be handed in.

        max_running: the upstream's slots. pause: the shortest time between two submissions.
        """
        if self._unsure:
            return await self._claimed_before(now, lease)
        job: Job | None = None
        try:
            async with self._db.write() as connection:
                job = await leasing.claim_queued(connection, now, max_running, pause, lease)
                seams.reached(Seam.CLAIM_QUEUED if job else None, Moment.BEFORE)
        except CommitUnknown:
            if job is not None:
                # Nothing was sent yet. Left alone, it would be taken for one that was, when its lease runs out.
                self._unsure.append(job)
            raise
        seams.reached(Seam.CLAIM_QUEUED if job else None, Moment.AFTER)
        return job

    async def _claimed_before(self, now: datetime, lease: timedelta) -> Job | None:
        """The job of a claim whose end was not known, under a fresh lease; None where it was not claimed."""
        job = self._unsure[-1]
        held = await self.renew([job], now, {JobState.SUBMITTING: lease})
        self._unsure.remove(job)
        return job if job.id in held else None

    async def next_due_at(self, now: datetime, max_running: int) -> datetime | None:
        """The earliest moment at which one of the claims would find something; None where nothing waits."""
        async with self._db.read() as connection:
            return await leasing.next_due_at(connection, now, max_running)

    async def renew(
        self, jobs: Sequence[Job], now: datetime, leases: Mapping[JobState, timedelta]
    ) -> frozenset[str]:
        """Lets the leases of these jobs begin anew; the ids of those that were still held, even if over."""
        async with self._db.write() as connection:
            wishes = await transitions.still_held(connection, jobs)
            held = [job for job in jobs if job.id in wishes]
            await leasing.renew(connection, held, now, leases)
        return frozenset(wishes)

    async def free_leases(self) -> int:
        """Ends all leases, at the start of the only process on this database; how many jobs were held.

        A job found while it was handed in still ends as one whose outcome is unknown: its claim stays counted.
        """
        async with self._db.write() as connection:
            return await leasing.free_all(connection)

    async def release(self, jobs: Sequence[Job]) -> None:
        """Gives leases back without a word about the jobs, which are due again at once."""
        async with self._db.write(Seam.RELEASE) as connection:
            await leasing.release(connection, await transitions.still_held(connection, jobs))

    async def apply(self, job: Job, outcome: Outcome, now: datetime) -> bool:
        """Writes a step's outcome; False where the lease was lost, and nothing is written about the job.

        But a task that was made is kept: a job that failed meanwhile, as of unknown outcome, goes on, free.
        Where the member gave the job up in the meantime, it is due at once, so that the next step hears of it;
        and instead of going back to the queue it ends as cancelled, free.
        Raises ValueError for a move that the transition table does not know, and for one out of an end: what is
        over is taken up again by `resume_failed_job` alone.
        """
        if isinstance(outcome, Reschedule):
            return await self.apply_later([(job, outcome)], now) == 1
        if job.state in ENDED or not may_become(job.state, transitions.target(outcome)):
            raise ValueError(f"job {job.id} can't go from {job.state} to {transitions.target(outcome)}")
        async with self._db.write(MOVES[transitions.target(outcome)]) as connection:
            hold = (
                outcome
                if isinstance(outcome, PauseSubmissions)
                else outcome.hold
                if isinstance(outcome, Fail)
                else None
            )
            if hold is not None:
                # With or without the lease: what the upstream said is true for all jobs.
                await submission_gate.close(connection, hold.until, hold.reason, now)
            moved = await transitions.move(connection, job, outcome, now)
            if not moved and job.state is JobState.SUBMITTING and isinstance(outcome, MoveTo):
                # Taken for dead by somebody, its holder lives and has the answer that was thought lost.
                return await recovery.answer_came(connection, job, outcome, now)
            if moved and hold is not None and isinstance(outcome, Fail):
                await operator_alerts.answer_lost(connection, job.id, hold.reason, now)
            return moved

    async def apply_later(self, batch: Sequence[tuple[Job, Reschedule]], now: datetime) -> int:
        """Writes many "not yet" at once; how many of them still held their lease."""
        async with self._db.write(Seam.NOT_YET) as connection:
            return await transitions.keep(connection, batch, now)

    async def cancel(self, job_id: str, now: datetime, *, paid_too: bool) -> CancelResult:
        """Ends a queued job at once, free; flags one that is under way, for its step to end it.

        paid_too: without, one that is under way, and so paid for, is left alone.
        """
        async with self._db.write(Seam.CANCEL) as connection:
            return await transitions.cancel(connection, job_id, now, paid_too=paid_too)

    async def gate(self) -> Gate:
        """Whether jobs may be submitted, and why not."""
        async with self._db.read() as connection:
            return await submission_gate.look(connection, lock=False)

    async def open_gate(self, now: datetime) -> None:
        """The upstream took a job: its failures are forgotten. Writes nothing where there were none.

        A gate that is closed beyond `now` stays so: it was closed while that job was on its way.
        """
        if (await self.gate()).failures == 0:
            return
        async with self._db.write(Seam.OPEN_GATE) as connection:
            await submission_gate.reopen(connection, now)
