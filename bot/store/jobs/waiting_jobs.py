"""What happens to all waiting jobs at once: at a start, and after the bot left a server or was kept from one."""

from datetime import datetime

from sqlalchemy import update

from bot.domain.jobs import FailureCause, Job, JobState, ProviderName
from bot.domain.models import DEFAULT_CATALOG, Catalog
from bot.store.engine import Database
from bot.store.jobs import submissions, transitions
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.schema import IS_ACTIVE, jobs


class WaitingJobs:
    """The jobs that have cost nothing yet. Every method raises StoreError where the database fails."""

    def __init__(self, database: Database, catalog: Catalog = DEFAULT_CATALOG) -> None:
        self._database = database
        self._catalog = catalog

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

        Cancels those whose model isn't offered any more, uncharged; returns how many.
        """
        names = [model.name for model in self._catalog.models]
        refused = (IS_ACTIVE, jobs.c.state == JobState.QUEUED, jobs.c.refused_by.is_not(None))
        async with self._database.write() as connection:
            rows = await connection.execute(select_jobs().where(*refused).order_by(jobs.c.id).with_for_update())
            # The others wait for a provider that hasn't been asked yet.
            stuck = [job.id for job in map(job_of, rows) if self._providers_of(job) <= job.refusers]
            await connection.execute(update(jobs).where(jobs.c.id.in_(stuck)).values(refused_by=None))
        gone, why = jobs.c.model.not_in(names), FailureCause.MODEL_GONE
        return await transitions.cancel_waiting(self._database, gone, now, actor_id=None, why=why)

    def _providers_of(self, job: Job) -> set[ProviderName]:
        return {kind.provider for kind in self._catalog.kinds_of(job.order)}
