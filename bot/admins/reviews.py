"""The moderators' answers about videos that wait for them, where a server wants each let through."""

from collections.abc import Callable

from bot.admins.acts import Acts, Admin
from bot.guilds import HouseRules
from bot.jobs import Job
from bot.reviews import Verdict
from bot.seams import Seam
from bot.steps import Clock
from bot.store import reviews
from bot.store.engine import Database


class Reviews(Acts):
    """Lets waiting jobs through, or ends them. rules: what the operator has set for all servers."""

    def __init__(self, database: Database, rules: HouseRules, *, wake: Callable[[], None], clock: Clock) -> None:
        super().__init__(database, wake=wake, clock=clock)
        self._rules = rules

    async def decide(self, admin: Admin, job_id: str, verdict: Verdict, *, card_id: int | None = None) -> Job:
        """Answers the question about a job of the admin's server.

        card_id: the message that asked. Raises: NotPossible where there is nothing to answer (any more).
        """
        async with self._database.write(Seam.DECIDE) as connection:
            job = await reviews.decide(
                connection,
                admin.guild_id,
                job_id,
                verdict,
                by=admin.user_id,
                card_id=card_id,
                rules=self._rules,
                now=self._clock(),
            )
        self._wake()
        return job
