"""A random history of jobs, credits and limits over months, which checks every balance after each step."""

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, select

from bot.domain.errors import QuotaRefused
from bot.domain.guilds import Budget, LimitOverrides, OperatorDefaults
from bot.domain.jobs import (
    ACTIVE,
    ENDED,
    TRANSITIONS,
    FailureReason,
    Job,
    JobState,
    Order,
    RecoveryProblem,
    Resolution,
)
from bot.domain.ledger import ZERO, Amounts, expected_balances
from bot.domain.models import Catalog
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Outcome, Reschedule
from bot.domain.policy import Requester
from bot.domain.provider_limits import ProviderLimits
from bot.domain.quotas import UNDELIVERED_MIN, LimitName
from bot.store import money_tables
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.money import credit_grants, ledger
from bot.store.money.credit_grants import Attribution
from bot.store.privacy.retention import RetentionStore
from bot.store.schema import EVERYWHERE
from tests.providers_asked import DASHSCOPE, P480, P720, VTRIX, takes
from tests.store.factories import (
    DETAIL,
    FRAME,
    LEASES,
    NOW,
    SECOND,
    mark_lost,
    new_job,
    requester_of,
    resume_failed_job,
)
from tests.store.money.sums import wrong_sums

GUILDS, MEMBERS = (10, 11), (1, 2)
PRICE = Decimal("0.20")
QUEUE = 12
USD_PER_DAY, USD_PER_MONTH, GUILD_USD_PER_DAY = Decimal(2), Decimal(6), Decimal("1.2")
"""Few videos, so that every history comes to budgets that are used up."""

RULES = OperatorDefaults(
    limits=LimitOverrides(videos_per_window=3, max_active=4, cooldown_s=1),
    catalog=Catalog(prices={P480: Decimal("0.10"), P720: PRICE}),
    budget=Budget(USD_PER_DAY, USD_PER_MONTH),
    guild_budget=Budget(GUILD_USD_PER_DAY, None),
    max_queued=QUEUE,
)
COSTS: list[Decimal | None] = [
    None,
    None,
    Decimal(0),
    Decimal("0.2"),
    Decimal("0.123456789123"),
    Decimal("1E-20"),
    Decimal("1.5"),
]
IMPLAUSIBLE_COSTS: list[Decimal | None] = [Decimal(-5), Decimal("1E+25"), Decimal("NaN"), Decimal(1_000_000)]
JUMPS = [*[timedelta(seconds=1)] * 6, timedelta(hours=1), timedelta(hours=11), timedelta(days=9)]


@dataclass
class Snapshot:
    """Everything the database contains at one moment."""

    jobs: dict[str, Job]
    entries: list[Row[Any]]
    totals: dict[tuple[int, date], tuple[int, Decimal]]
    grants: list[Row[Any]]

    def sums(self, which: Callable[[Row[Any]], bool]) -> Amounts:
        found = [row for row in self.entries if which(row)]
        return sum((Amounts(row.videos, row.credits, row.usd) for row in found), ZERO)


@dataclass
class LedgerHistory:
    """A random history in one database. held: claimed jobs. written: the ledger entries so far, never changed."""

    database: Database
    store: JobStore
    rng: random.Random
    now: datetime = NOW
    held: list[Job] = field(default_factory=list)
    written: list[Row[Any]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    async def step(self) -> None:
        job_actions = (
            "add",
            "add",
            "add",
            "add",
            "work",
            "work",
            "work",
            "cancel",
            "resume",
            "mark lost",
            "release",
        )
        match self.rng.choice(
            (
                *job_actions,
                "grant",
                "grant",
                "revoke",
                "expire",
                "limits",
                "advance clock",
                "advance clock",
                "advance clock",
            )
        ):
            case "add":
                await self.add()
            case "work":
                await self.work()
            case "cancel":
                await self.store.cancel(await self.some_job(), self.now, even_if_paid=self.rng.random() < 0.5)
            case "resume":
                await self.resume_failed_job()
            case "release":
                await RetentionStore(self.database, RULES).release_held_costs(self.now)
            case "mark lost":
                await mark_lost(self.store, await self.some_job(), self.now, actor_id=9)
            case "advance clock":
                self.now += self.rng.choice(JUMPS)
            case action:
                await self.manage(action)
        await self.check()

    async def add(self) -> None:
        order = Order("a fox", resolution=self.rng.choice((Resolution.P480, Resolution.P720)))
        new = new_job(user_id=self.rng.choice(MEMBERS), guild_id=self.rng.choice(GUILDS), order=order)
        requester = requester_of(new, admin=self.rng.random() < 0.2)
        before = await self.read()
        try:
            job = await self.store.add(new, FRAME, requester, self.now)
        except QuotaRefused as refused:
            self.refused.add(refused.limit)
            await self.check_refusal(requester, LimitName(refused.limit), order)
            assert (await self.read()) == before, "a refusal writes nothing"
        else:
            await self.check_acceptance(requester, job)

    async def work(self) -> None:
        self.held += await self.store.claim_due(self.now, 3, LEASES)
        queued = await self.store.claim_queued(self.now, self.providers(), LEASES[JobState.QUEUED])
        if queued is not None:
            self.held.append(queued)
        while self.held and self.rng.random() < 0.8:
            job = self.held.pop(self.rng.randrange(len(self.held)))
            await self.store.apply(job, self.outcome_of(job), self.now)

    def providers(self) -> list[ProviderLimits]:
        """Both, in any order."""
        return self.rng.sample((takes(VTRIX, 99), takes(DASHSCOPE, 99)), 2)

    def outcome_of(self, job: Job) -> Outcome:
        facts = JobUpdate(
            upstream_id=None if job.upstream_id else f"task-{job.id}",
            submitted_at=self.now,
            cost_usd=self.rng.choice(COSTS + IMPLAUSIBLE_COSTS),
            result_url=self.rng.choice([None, "https://cdn.example/x.mp4"]),
        )
        if job.state in ENDED:
            return Reschedule(None, replace(facts, result_url=None) if self.rng.random() < 0.3 else JobUpdate())
        if job.state is JobState.QUEUED and self.rng.random() < 0.8:
            return Reschedule(None)
        if self.rng.random() < 0.25:
            reasons = [
                FailureReason.UNDELIVERABLE,
                FailureReason.OUTCOME_UNKNOWN,
                FailureReason.TIMED_OUT,
                FailureReason.UPSTREAM_FAILED,
            ]
            lost = JobUpdate() if job.state is JobState.SUBMITTING else facts
            return Fail(self.rng.choice(reasons), DETAIL, lost)
        to = self.rng.choice(sorted(TRANSITIONS[job.state] - {JobState.FAILED, JobState.SUBMITTING}) or [None])
        if to is None:
            return Reschedule(self.now + SECOND)
        free = to is JobState.CANCELLED and self.rng.random() < 0.5
        return MoveTo(to, facts, charged=False if free else None, cost_unknown=free and self.rng.random() < 0.5)

    async def resume_failed_job(self) -> None:
        failed = [job for job in (await self.read()).jobs.values() if job.state is JobState.FAILED]
        job_id = self.rng.choice(failed).id if failed else "nothing failed"
        found = self.rng.choice([None, f"task-{job_id}", "task-of-another"])
        resumed = await resume_failed_job(self.store, job_id, self.now, actor_id=9, upstream_id=found)
        if isinstance(resumed, Job):
            assert (resumed.state, resumed.charged, resumed.failure_reason) == (JobState.RUNNING, False, None)
        else:
            assert isinstance(resumed, RecoveryProblem)

    async def manage(self, action: str) -> None:
        guild_id, user_id = self.rng.choice(GUILDS), self.rng.choice(MEMBERS)
        attribution = Attribution(9, self.now, "a test")
        async with self.database.write() as connection:
            await guild_settings.lock_operator_state(connection)
            match action:
                case "grant":
                    expires_at = self.rng.choice([None, self.now + timedelta(hours=12)])
                    number = self.rng.randint(1, 3)
                    await credit_grants.grant(
                        connection, guild_id, user_id, number, attribution, expires_at=expires_at
                    )
                case "revoke":
                    await credit_grants.revoke(
                        connection, guild_id, user_id, self.rng.choice([None, 1]), attribution
                    )
                case "expire":
                    await credit_grants.expire(connection, self.now)
                case _:
                    columns = {
                        "videos_per_day": self.rng.choice([None, None, 4]),
                        "usd_per_day": self.rng.choice([None, None, Decimal(1)]),
                        "usd_per_month": self.rng.choice([None, None, Decimal(2)]),
                        "window_hours": self.rng.choice([None, 1, 720]),
                        "approval_required": self.rng.random() < 0.2,
                        "admins_exempt": self.rng.random() < 0.5,
                    }
                    await guild_settings.write(connection, guild_id, columns)

    async def some_job(self) -> str:
        return self.rng.choice([*(await self.read()).jobs, "none at all"])

    async def read(self) -> Snapshot:
        async with self.database.read() as connection:
            jobs = {row.id: job_of(row) for row in await connection.execute(select_jobs())}
            entries = list(
                await connection.execute(select(money_tables.ledger).order_by(money_tables.ledger.c.id))
            )
            sums = {
                (row.guild_id, row.day): (row.videos, row.usd)
                for row in await connection.execute(select(money_tables.daily_totals))
            }
            grants = list(
                await connection.execute(
                    select(money_tables.credit_grants).order_by(money_tables.credit_grants.c.id)
                )
            )
        return Snapshot(jobs, entries, sums, grants)

    async def check(self) -> None:
        snapshot = await self.read()
        assert snapshot.entries[: len(self.written)] == self.written, "no entry is ever changed"
        self.written = snapshot.entries
        self._check_jobs(snapshot)
        self._check_totals(snapshot)
        async with self.store._db.read() as connection:
            assert await wrong_sums(connection) == []
        for grant in snapshot.grants:
            recorded = snapshot.sums(lambda row, grant_id=grant.id: row.credit_grant_id == grant_id)  # type: ignore[misc]
            assert grant.credits_left == recorded.credits >= 0
        await self._check_member(snapshot, self.rng.choice(GUILDS), self.rng.choice(MEMBERS))

    def _check_jobs(self, snapshot: Snapshot) -> None:
        recorded: defaultdict[str | None, Amounts] = defaultdict(Amounts)
        for row in snapshot.entries:
            recorded[row.job_id] += Amounts(row.videos, row.credits, row.usd)
        assert set(recorded) - {None} == set(snapshot.jobs)
        for job in snapshot.jobs.values():
            due = expected_balances(
                job, job.estimated_cost_usd or Decimal(0), with_credit=job.credit_grant_id is not None
            )
            assert recorded[job.id] == due, job
            if job.state is JobState.FAILED:
                assert recorded[job.id] == Amounts(usd=due.usd), "a failure costs the member nothing"
                is_paid = job.cost_usd is not None or job.result_url is not None
                assert due.usd == 0 or is_paid or job.cost_unknown_since is not None

    def _check_totals(self, snapshot: Snapshot) -> None:
        expected: defaultdict[tuple[int, date], Amounts] = defaultdict(Amounts)
        for row in snapshot.entries:
            for guild_id in (EVERYWHERE, row.guild_id):
                expected[guild_id, row.effective_at.date()] += Amounts(row.videos, 0, row.usd)
        kept = {key: Amounts(videos, 0, usd) for key, (videos, usd) in snapshot.totals.items()}
        assert {key: sums for key, sums in expected.items() if sums != ZERO} == {
            key: sums for key, sums in kept.items() if sums != ZERO
        }

    async def _check_member(self, snapshot: Snapshot, guild_id: int, user_id: int) -> None:
        theirs = [job for job in snapshot.jobs.values() if (job.guild_id, job.user_id) == (guild_id, user_id)]
        allowance = await self.store.allowance(Requester(guild_id, 100, user_id), self.now)
        since = self.now - allowance.limits.window
        in_window = sorted(
            job.created_at
            for job in theirs
            if job.charged and job.credit_grant_id is None and job.created_at > since
        )
        assert list(allowance.usage.charged_at) == in_window
        assert allowance.usage.running == sum(job.state in ACTIVE for job in theirs)
        # A failed request doesn't count for the cooldown, even after its job is resumed.
        failed = {
            row.job_id for row in snapshot.entries if row.kind == "return" and row.reason.startswith("failed")
        }
        asked = [job.created_at for job in theirs if job.id not in failed]
        assert allowance.usage.last_accepted_at == max(asked, default=None)
        assert list(allowance.usage.undelivered_at) == sorted(
            job.created_at
            for job in theirs
            if job.failure_reason is FailureReason.UNDELIVERABLE and job.submitted_at and job.created_at > since
        )
        usable = {
            grant.id
            for grant in snapshot.grants
            if (grant.guild_id, grant.user_id) == (guild_id, user_id)
            and (grant.expires_at is None or grant.expires_at > self.now)
        }
        left = snapshot.sums(lambda row: row.credit_grant_id in usable).credits
        assert sum(credit.left for credit in allowance.usage.credits) == left

    async def check_acceptance(self, requester: Requester, job: Job) -> None:
        """Right after an acceptance, no limit is exceeded."""
        snapshot = await self.read()
        allowance = await self.store.allowance(requester, self.now)
        settings_of, total, of_guild = await self.spent(requester.guild_id)
        if not allowance.limits.exempt:
            assert allowance.usage.running <= allowance.limits.max_active.value
            if job.credit_grant_id is None:
                assert len(allowance.usage.charged_at) <= allowance.limits.videos_per_window.value
            else:
                assert len(allowance.usage.charged_at) >= allowance.limits.videos_per_window.value
        assert total.usd_today <= 4
        assert total.usd_month <= 9
        assert of_guild.usd_today <= 3
        for used, most in (
            (of_guild.usd_today, settings_of.budget.usd_per_day),
            (of_guild.usd_month, settings_of.budget.usd_per_month),
            (of_guild.videos_today, settings_of.videos_per_day),
        ):
            assert most is None or used <= most
        assert len(_waiting(snapshot)) <= QUEUE
        assert len(_waiting(snapshot, requester.guild_id)) <= QUEUE // 4

    async def spent(self, guild_id: int) -> Any:
        async with self.database.read() as connection:
            return (
                (await guild_settings.get(connection, guild_id)).settings,
                await ledger.spent(connection, EVERYWHERE, self.now),
                await ledger.spent(connection, guild_id, self.now),
            )

    async def check_refusal(self, requester: Requester, limit: LimitName, order: Order) -> None:
        """The limit named by the refusal has been reached."""
        snapshot = await self.read()
        allowance = await self.store.allowance(requester, self.now)
        guild, total, spent = await self.spent(requester.guild_id)
        async with self.database.read() as connection:
            price = await ledger.estimate(connection, RULES.catalog, order)
        usage, limits = allowance.usage, allowance.limits
        reached = {
            LimitName.MAX_ACTIVE: usage.running >= limits.max_active.value,
            LimitName.COOLDOWN: usage.last_accepted_at is not None and usage.last_accepted_at + SECOND > self.now,
            LimitName.VIDEOS_PER_WINDOW: len(usage.charged_at) >= limits.videos_per_window.value
            and not usage.credits,
            LimitName.GUILD_VIDEOS_PER_DAY: spent.videos_today >= (guild.videos_per_day or 0),
            LimitName.GUILD_USD_PER_DAY: spent.usd_today + price > (guild.budget.usd_per_day or 0),
            LimitName.GUILD_USD_PER_MONTH: spent.usd_month + price > (guild.budget.usd_per_month or 0),
            LimitName.GRANTED_USD_PER_DAY: spent.usd_today + price > GUILD_USD_PER_DAY,
            LimitName.TOTAL_USD_PER_DAY: total.usd_today + price > USD_PER_DAY,
            LimitName.TOTAL_USD_PER_MONTH: total.usd_month + price > USD_PER_MONTH,
            LimitName.QUEUE: len(_waiting(snapshot)) >= QUEUE,
            LimitName.GUILD_QUEUE: len(_waiting(snapshot, requester.guild_id)) >= QUEUE // 4,
            LimitName.UNDELIVERED: len(usage.undelivered_at)
            >= max(UNDELIVERED_MIN, limits.videos_per_window.value),
        }
        assert reached[limit]
        assert not (
            limits.exempt and limit in {LimitName.MAX_ACTIVE, LimitName.COOLDOWN, LimitName.VIDEOS_PER_WINDOW}
        )


def _waiting(snapshot: Snapshot, guild_id: int | None = None) -> list[Job]:
    """Jobs that count for the queue limit; for one server, also those that await approval."""
    if guild_id is None:
        return [job for job in snapshot.jobs.values() if job.state is JobState.QUEUED]
    waits = {JobState.AWAITING, JobState.QUEUED}
    return [job for job in snapshot.jobs.values() if job.state in waits and job.guild_id == guild_id]


async def run_history(url: str, seed: int, steps: int) -> LedgerHistory:
    async with Database.open(url) as database:
        history = LedgerHistory(database, JobStore(database, RULES), random.Random(seed))  # noqa: S311 - no secret
        for _ in range(steps):
            await history.step()
        return history
