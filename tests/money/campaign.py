"""Plays a campaign: members who order, cancel and leave, workers that die, gateways with faults, days that pass.

Everything but the gateways, Discord and the clock is the bot's own: the store on a real database, the worker and
its stages, the operator's service, the members' rights to their data.
"""

import asyncio
import base64
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import select

from bot.domain.errors import NotPossible, QuotaRefused
from bot.domain.guilds import Budget, LimitOverrides, OperatorDefaults
from bot.domain.jobs import Frame, Job, JobState, NewJob, Order, ProviderName, Resolution
from bot.domain.ledger import utc_day
from bot.domain.models import WAN22_FLASH, Catalog, Currency, Model, Offering
from bot.domain.policy import Requester
from bot.domain.provider_limits import ProviderLimits, models_at
from bot.domain.schedule import PollSchedule
from bot.services.operator.service import Operator, OperatorService
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.jobs import recovery
from bot.store.jobs.approvals import ApprovalStore
from bot.store.jobs.job_store import JobStore
from bot.store.money import credit_grants, ledger
from bot.store.money.credit_grants import Attribution
from bot.store.privacy.member_data import MemberDataStore
from bot.store.privacy.retention import RetentionStore
from bot.store.schema import jobs
from bot.worker.config import WorkerConfig
from bot.worker.loop import Worker
from bot.worker.stages.context import StageConfig, StageContext
from tests.fake_messengers import FakeApprovalMessenger
from tests.money.channel import Channel, QuietCards
from tests.money.gateways import Gateway
from tests.money.mortal import Life, MortalClient, MortalDatabase

BEGAN = datetime(2026, 1, 29, 20, tzinfo=UTC)
"""Two days before a month ends."""

VTRIX, DASHSCOPE = ProviderName.VTRIX, ProviderName.DASHSCOPE
SECOND_MODEL = Model(
    name="second",
    title="A second model",
    offerings=(
        Offering(
            DASHSCOPE,
            "second-i2v",
            {Resolution.P480: Decimal("0.31"), Resolution.P720: Decimal("0.53")},
            Currency.CNY,
        ),
    ),
    resolutions=(Resolution.P480, Resolution.P720),
    durations_s=(5, 10),
)
CATALOG = Catalog(models=(WAN22_FLASH, SECOND_MODEL), providers=(VTRIX, DASHSCOPE))
FRAME = Frame(b"a picture", "image/png")
ORDERS_PER_ROUND = 30
MEMBERS_MAX = 300
MEMBERS_PER_GUILD = 5
WORKERS = 2
STEPS_MEAN = 400
"""How many steps a worker lives on average; a job takes about twenty."""

CREDITS = 5
TASK_LIFETIME = timedelta(hours=24)


@dataclass
class Member:
    guild_id: int
    user_id: int

    @property
    def requester(self) -> Requester:
        return Requester(self.guild_id, 100, self.user_id)


Peaks = dict[tuple[ProviderName, date], Decimal]


class TickingClock:
    """A simulated time, which passes by a millisecond whenever it is read."""

    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


class WatchedStore(JobStore):
    """The worker's store. peaks: the most that each provider's day came to when a job was claimed for it."""

    def __init__(self, database: Database, rules: OperatorDefaults, peaks: "Peaks", observer: Database) -> None:
        super().__init__(database, rules)
        self._peaks = peaks
        self._observer = observer

    async def claim_queued(
        self, now: datetime, providers: Sequence[ProviderLimits], lease: timedelta
    ) -> Job | None:
        job = await super().claim_queued(now, providers, lease)
        if job is not None and job.provider is not None:
            async with self._observer.read() as connection:
                spent = await ledger.spent_at_provider(connection, job.provider, now)
            key = job.provider, utc_day(now)
            self._peaks[key] = max(self._peaks.get(key, Decimal(0)), spent.usd_today)
        return job


@dataclass
class Campaign:
    """One campaign on one database. size: how many jobs are ordered."""

    database: Database
    workdir: Path
    size: int
    seed: int
    clock: TickingClock = field(default_factory=TickingClock)
    happened: Counter[str] = field(default_factory=Counter)
    ordered: list[str] = field(default_factory=list)
    retried: set[str] = field(default_factory=set)
    found: set[str] = field(default_factory=set)
    mistyped: set[str] = field(default_factory=set)
    unknowable: dict[str, str] = field(default_factory=dict)
    peaks: Peaks = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)  # noqa: S311 - repeatable
        per_day = Decimal(self.size) / 40
        members = min(MEMBERS_MAX, max(self.size // 30, 4 * MEMBERS_PER_GUILD))
        guilds = members // MEMBERS_PER_GUILD
        self.rules = OperatorDefaults(
            limits=LimitOverrides(videos_per_window=5, max_active=100, cooldown_s=0),
            catalog=CATALOG,
            budget=Budget(per_day, per_day * 20),
            guild_budget=Budget(per_day * 3 / guilds, per_day * 40 / guilds),
            max_queued=max(self.size, 100),
        )
        self.store = JobStore(self.database, self.rules)
        self.privacy = MemberDataStore(self.database, self.rules)
        self.retention = RetentionStore(self.database, self.rules)
        self.gateways = {
            name: Gateway(
                name,
                {kind: CATALOG.estimate(kind) for kind in CATALOG.kinds() if kind.provider is name},
                self.clock,
                self.seed,
                is_queue=name is VTRIX,
            )
            for name in CATALOG.providers
        }
        self.limits = tuple(
            ProviderLimits(
                name, running, timedelta(0), models_at(CATALOG, name), Budget(per_day * share, per_day * 20)
            )
            for name, running, share in ((VTRIX, 40, Decimal("0.5")), (DASHSCOPE, 30, Decimal("0.6")))
        )
        self.channel = Channel(self.seed)
        self.operator = Operator(9)
        self.operator_service = OperatorService(
            self.database, self.rules, guild_id=1, user_ids={9}, wake=lambda: None, clock=self.clock
        )
        self.members = [Member(10 + number % guilds, 1000 + number) for number in range(members)]
        self.next_user = 1000 + len(self.members)
        self.recent: deque[str] = deque(maxlen=120)
        self.workers = [self._worker() for _ in range(WORKERS)]

    async def run(self, progress: Callable[[str], None] = lambda _: None) -> None:
        """Plays until all orders are placed and all jobs have ended."""
        number = 0
        while len(self.ordered) < self.size:
            await self._round(number)
            number += 1
            if number % 20 == 0:
                progress(
                    f"{len(self.ordered)} of {self.size} jobs, {number} rounds, it is {self.clock.now:%d %b %H:%M}"
                )
        await self.settle_down()
        while await self.reconcile():
            await self.settle_down()
        for gateway in self.gateways.values():
            self.clock.now = max(self.clock.now, gateway.last_end)
        while await self.reconcile():
            await self.settle_down()
        for gateway in self.gateways.values():
            gateway.close_books()

    async def release(self) -> None:
        """Lets the time pass for which unknown costs are held."""
        self.clock.now += self.rules.unknown_cost_held_for + timedelta(minutes=1)
        while await self.retention.release_held_costs(self.clock()):
            pass

    async def _round(self, number: int) -> None:
        asked = min(self.rng.randrange(ORDERS_PER_ROUND // 2, ORDERS_PER_ROUND * 3 // 2), self.size)
        accepted = [await self._order() for _ in range(asked) if len(self.ordered) < self.size]
        await asyncio.gather(self._work(), self._interfere())
        if number % 10 == 9:
            await self._housekeeping()
        if accepted.count(False) > len(accepted) // 2:  # a budget is used up
            self.clock.now = datetime(*self.clock.now.date().timetuple()[:3], 0, 5, tzinfo=UTC) + timedelta(days=1)
        elif number % 6 == 5:
            self.clock.now += timedelta(hours=self.rng.uniform(0.3, 1.5))
        else:
            self.clock.now += timedelta(seconds=self.rng.uniform(10, 60))
        for gateway in self.gateways.values():
            gateway.answer_slow()

    async def settle_down(self) -> None:
        """Lets everything end, without further faults and deaths of workers."""
        self.channel.is_healthy = True
        for gateway in self.gateways.values():
            gateway.is_healthy = True
        await self._replace_workers()
        for _ in range(2000):
            await self._work()
            if not await self._active():
                break
            self.clock.now += timedelta(minutes=self.rng.choice((1, 5, 40)))
            for gateway in self.gateways.values():
                gateway.answer_slow()
        else:
            raise AssertionError("the campaign never ends")

    async def _order(self) -> bool:
        member = self.rng.choice(self.members)
        model = self.rng.choices((WAN22_FLASH, SECOND_MODEL), (8, 2))[0]
        count = 1 if self.rng.random() < 0.95 else self.rng.randrange(2, 5)
        count = min(count, self.size - len(self.ordered))
        order = Order(
            "a fox runs",
            resolution=self.rng.choice(model.resolutions),
            model=model.name,
            duration_s=self.rng.choice(model.durations_s),
        )
        new_ids = [base64.urlsafe_b64encode(self.rng.randbytes(12)).decode() for _ in range(count)]
        news = [NewJob(job_id, member.guild_id, 100, member.user_id, order) for job_id in new_ids]
        try:
            await self.store.add_together(news, FRAME, member.requester, self.clock())
        except QuotaRefused as error:
            self.happened[f"order refused: {error.limit}"] += 1
            if error.limit == "window" and self.rng.random() < 0.5:
                await self._grant(member)
            return False
        self.happened["variations"] += count if count > 1 else 0
        self.ordered += new_ids
        self.recent.extend(new_ids)
        return True

    async def _grant(self, member: Member) -> None:
        self.happened["credits granted"] += CREDITS
        expires_at = self.rng.choice((None, self.clock() + timedelta(hours=12)))
        async with self.database.write() as connection:
            await guild_settings.lock_operator_state(connection)
            await credit_grants.grant(
                connection,
                member.guild_id,
                member.user_id,
                CREDITS,
                Attribution(9, self.clock(), "thanks"),
                expires_at=expires_at,
            )

    async def _interfere(self) -> None:
        """While the workers work, members cancel and have data erased, admins take credits back and retry."""
        in_progress = await self._in_progress()
        for choice in (self.recent, in_progress):
            for job_id in self.rng.sample(choice, min(len(choice), self.rng.randrange(3))):
                result = await self.store.cancel(job_id, self.clock(), even_if_paid=True)
                self.happened[f"cancel: {result}"] += 1
        if self.rng.random() < 0.2:
            member = self.rng.choice(self.members)
            async with self.database.write() as connection:
                await guild_settings.lock_operator_state(connection)
                taken = await credit_grants.revoke(
                    connection, member.guild_id, member.user_id, 2, Attribution(9, self.clock(), "")
                )
            self.happened["credits revoked"] += taken
        if self.rng.random() < 0.15:
            await self._erase(self.rng.choice(self.members))
        if self.rng.random() < 0.3 and self.recent:
            await self._retry(self.rng.choice(self.recent))

    async def _in_progress(self) -> list[str]:
        """The jobs that have a task."""
        with_task = JobState.SUBMITTING, JobState.RUNNING, JobState.DELIVERING
        async with self.database.read() as connection:
            return list(
                await connection.scalars(select(jobs.c.id).where(jobs.c.state.in_(with_task)).order_by(jobs.c.id))
            )

    async def _erase(self, member: Member) -> None:
        self.happened["erasures"] += 1
        await self.privacy.erase(await self.privacy.request_erasure(member.user_id, self.clock()), self.clock())
        member.user_id, self.next_user = self.next_user, self.next_user + 1

    async def _retry(self, job_id: str) -> None:
        """As an admin does with a failed job whose task is known."""
        async with self.database.write() as connection:
            found = await recovery.resume_failed_job(
                connection, job_id, self.clock(), task_lifetime=TASK_LIFETIME, actor_id=9
            )
        if isinstance(found, Job):
            self.happened["resumed by an admin"] += 1
            self.retried.add(job_id)

    async def _housekeeping(self) -> None:
        """What happens every hour or every day: the operator reconciles, credits and held costs are released."""
        await self.reconcile(mistakes=True)
        await self.retention.expire_credits(self.clock())
        await self.retention.release_held_costs(self.clock())
        for erasure in await self.privacy.erasure_requests():
            await self.privacy.erase(erasure, self.clock())

    async def reconcile(self, *, mistakes: bool = False) -> int:
        """Does as an operator does who compares the open jobs with the gateways' lists; returns how many changed.

        unknowable: notes why a billed task's cost can't be had. mistakes: mistypes some tasks' ids.
        """
        async with self.database.read() as connection:
            found = await recovery.unreconciled(connection, self.size)
        return sum([await self._reconcile(job, mistakes=mistakes) for job in found])

    async def _reconcile(self, job: Job, *, mistakes: bool) -> bool:
        assert job.provider is not None
        tasks = self.gateways[job.provider].by_job[job.id]
        task = tasks[0] if tasks else None
        if task is not None and not task.has_ended(self.clock()):
            return False
        if task is not None:
            task.close(self.clock())
        if task is None or not task.billed:
            await self.operator_service.task_lost(self.operator, job.id)
            self.happened["reconciled: lost"] += 1
            return True
        if not task.is_cost_told and job.id in self.found:
            return False
        mistyped = mistakes and job.upstream_id is None and self.rng.random() < 0.1
        try:
            await self.operator_service.task_found(
                self.operator, job.id, f"not-{task.id}" if mistyped else task.id
            )
        except NotPossible as error:
            self.unknowable[job.id] = str(getattr(error.reason, "why", error.reason))
            return False
        if mistyped:
            self.mistyped.add(job.id)
        self.found.add(job.id)
        self.happened["reconciled: mistyped" if mistyped else "reconciled: found"] += 1
        return True

    async def _active(self) -> int:
        return sum((await self.operator_service.overview()).active.values())

    def _worker(self, *, immortal: bool = False) -> "MortalWorker":
        steps = None if immortal else int(self.rng.expovariate(1 / STEPS_MEAN)) + 1
        return MortalWorker(self, Life(steps))

    async def _replace_workers(self) -> None:
        for worker in self.workers:
            await worker.bury()
        self.workers = [self._worker(immortal=True) for _ in range(WORKERS)]

    async def _work(self) -> None:
        """All workers work until nothing is due at this time; those that die are replaced."""
        lived = await asyncio.gather(*(worker.work() for worker in self.workers))
        for number, lives in enumerate(lived):
            if not lives:
                self.happened["workers that died"] += 1
                self.workers[number] = self._worker()


class MortalWorker:
    """A worker with its own clients and view of the database, which may die."""

    def __init__(self, campaign: Campaign, life: Life) -> None:
        self._life = life
        self._clients = {name: MortalClient(gateway, life) for name, gateway in campaign.gateways.items()}
        database = MortalDatabase(campaign.database, life)
        store = WatchedStore(database, campaign.rules, campaign.peaks, campaign.database)
        context = StageContext(
            providers=self._clients,
            provider_limits=campaign.limits,
            messenger=campaign.channel,
            status_cards=QuietCards(),
            store=store,
            config=StageConfig(timedelta(minutes=30), TASK_LIFETIME, PollSchedule(5, 30)),
            clock=campaign.clock,
            workdir=campaign.workdir,
            jitter=lambda: 0.5,
            approval_messenger=FakeApprovalMessenger(),
            approvals=ApprovalStore(database),
        )
        config = WorkerConfig(
            campaign.limits, max_concurrent_jobs=200, batch_delay=timedelta(0), final_write_timeout=timedelta(0)
        )
        self._worker = Worker(store, context, config)

    async def work(self) -> bool:
        """Works until nothing is due; False if it died."""
        for client in self._clients.values():
            client.changed.clear()
        working, dead = asyncio.create_task(self._until_idle()), asyncio.create_task(self._life.ended.wait())
        await asyncio.wait({working, dead}, return_when=asyncio.FIRST_COMPLETED)
        if not dead.done():
            dead.cancel()
            await working
            return True
        await self.bury(working)
        return False

    async def bury(self, *also: "asyncio.Task[Any]") -> None:
        """Ends all that a dead worker was about to do."""
        left = {*also, *self._worker._in_progress}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    async def _until_idle(self) -> None:
        while True:
            claimed = await self._worker._claim() + await self._worker._claim_polls()
            if claimed:
                continue
            if not await self._some_progress():
                return

    async def _some_progress(self) -> bool:
        """Waits until a stage is done; False if all that are in progress wait for a slow gateway."""
        while (in_progress := self._worker._in_progress) and len(in_progress) > self._waiting:
            changes = [asyncio.create_task(client.changed.wait()) for client in self._clients.values()]
            done, _ = await asyncio.wait({*in_progress, *changes}, return_when=asyncio.FIRST_COMPLETED)
            for client, change in zip(self._clients.values(), changes, strict=True):
                change.cancel()
                client.changed.clear()
            if done - set(changes):
                return True
        return False

    @property
    def _waiting(self) -> int:
        return sum(client.waiting for client in self._clients.values())
