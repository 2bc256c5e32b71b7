"""What happens to all waiting jobs at once: at a start, and after the bot left a server or was kept from one."""

from datetime import datetime

from sqlalchemy import update

from bot.domain.guilds import OperatorDefaults
from bot.domain.jobs import FailureCause, Job, JobState, ProviderName
from bot.domain.provider_limits import NO_BUDGET, ProviderLimits, is_too_dear
from bot.store.engine import Database
from bot.store.jobs import submissions, transitions
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.schema import IS_ACTIVE, jobs


class WaitingJobs:
    """The jobs that have cost nothing yet. Every method raises StoreError where the database fails."""

    def __init__(self, database: Database, rules: OperatorDefaults | None = None) -> None:
        self._database = database
        self._rules = rules or OperatorDefaults()

    async def cancel_where_left_or_blocked(self, now: datetime) -> int:
        """Cancels waiting jobs in servers that removed the bot, where their videos could not be posted.

        Also in blocked servers, in case the process died while it cancelled them. Returns how many jobs.
        """
        return sum(
            [
                await transitions.cancel_waiting(self._database, which, now, actor_id=None, why=why)
                for which, why in (
                    (submissions.BOT_REMOVED, FailureCause.BOT_REMOVED),
                    (submissions.BLOCKED, FailureCause.SERVER_BLOCKED),
                )
            ]
        )

    async def offer_again(self, now: datetime) -> int:
        """Offers the jobs again that all providers refused, as at a start, when there were others before.

        Cancels those whose model isn't offered any more, or which fit no provider's budget since that was changed,
        uncharged; returns how many.
        """
        refused = (IS_ACTIVE, jobs.c.state == JobState.QUEUED, jobs.c.refused_by.is_not(None))
        async with self._database.write() as connection:
            rows = await connection.execute(select_jobs().where(*refused).order_by(jobs.c.id).with_for_update())
            # The others wait for a provider that hasn't been asked yet.
            stuck = [job.id for job in map(job_of, rows) if self._providers_of(job) <= job.refusers]
            await connection.execute(update(jobs).where(jobs.c.id.in_(stuck)).values(refused_by=None))
        gone = jobs.c.model.not_in([model.name for model in self._rules.catalog.models])
        return sum(
            [
                await transitions.cancel_waiting(self._database, which, now, actor_id=None, why=why)
                for which, why in (
                    (gone, FailureCause.MODEL_GONE),
                    (jobs.c.id.in_(await self._too_dear()), FailureCause.TOO_DEAR),
                )
            ]
        )

    async def _too_dear(self) -> list[str]:
        """The ids of waiting jobs that no provider's budget would ever have room for."""
        catalog, budgets = self._rules.catalog, self._rules.provider_budgets
        if all(budget == NO_BUDGET for budget in budgets.values()):
            return []
        waiting = (IS_ACTIVE, jobs.c.state.in_(transitions.WAITING), jobs.c.estimated_cost_usd.is_not(None))
        async with self._database.read() as connection:
            found = [job_of(row) for row in await connection.execute(select_jobs().where(*waiting))]
        return [
            job.id
            for job in found
            if job.estimated_cost_usd is not None
            and is_too_dear(catalog, budgets, job.order, job.estimated_cost_usd)
        ]

    def _providers_of(self, job: Job) -> set[ProviderName]:
        """Who may make it, within their budgets."""
        limits = [
            ProviderLimits(
                kind.provider,
                models=frozenset({job.order.model}),
                budget=self._rules.provider_budgets.get(kind.provider, NO_BUDGET),
            )
            for kind in self._rules.catalog.kinds_of(job.order)
        ]
        return {each.provider for each in limits if each.ever_takes(job)}
