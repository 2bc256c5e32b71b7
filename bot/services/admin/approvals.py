"""The moderators' decisions about jobs that wait for approval."""

from bot.domain.approvals import Verdict
from bot.domain.jobs import Job
from bot.services.admin.audited import Admin, AuditedService
from bot.store.jobs import approvals


class ApprovalService(AuditedService):
    """Approves or declines waiting jobs."""

    async def decide(self, admin: Admin, job_id: str, verdict: Verdict, *, card_id: int | None = None) -> Job:
        """Approves or declines a job of the admin's server.

        card_id: the approval card. Raises: NotPossible if there is nothing left to decide.
        """
        async with self._database.write() as connection:
            job = await approvals.decide(
                connection,
                admin.guild_id,
                job_id,
                verdict,
                actor_id=admin.user_id,
                card_id=card_id,
                rules=self._defaults,
                now=self._clock(),
            )
        self._wake()
        return job
