"""What happens to all waiting jobs at once: at a start, and after the bot left a server or was kept from one."""

from datetime import datetime

from sqlalchemy import update

from bot.domain.jobs import FailureCause, JobState
from bot.domain.models import DEFAULT_CATALOG, Catalog
from bot.store.engine import Database
from bot.store.jobs import leasing, transitions
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
                    (leasing.BOT_REMOVED, FailureCause.BOT_REMOVED),
                    (leasing.BLOCKED, FailureCause.SERVER_BLOCKED),
                )
            ]
        )

    async def offer_again(self, now: datetime) -> int:
        """Lets all providers have the queued jobs again, as at a start, when there may be others than before.

        Cancels those whose model isn't offered any more, uncharged; returns how many.
        """
        names = [model.name for model in self._catalog.models]
        refused = (IS_ACTIVE, jobs.c.state == JobState.QUEUED, jobs.c.refused_by.is_not(None))
        async with self._database.write() as connection:
            await connection.execute(update(jobs).where(*refused).values(refused_by=None))
        gone, why = jobs.c.model.not_in(names), FailureCause.MODEL_GONE
        return await transitions.cancel_waiting(self._database, gone, now, actor_id=None, why=why)
