"""The moderators' answers about videos that wait for them, where a server wants each one approved."""

from bot.domain.approvals import Verdict
from bot.domain.jobs import Job
from bot.services.admin.audited import Admin, AuditedService
from bot.store.jobs import approvals


class ApprovalService(AuditedService):
    """Approves waiting jobs, or ends them. rules: what the operator has set for all servers."""

    async def decide(self, admin: Admin, job_id: str, verdict: Verdict, *, card_id: int | None = None) -> Job:
        """Answers the question about a job of the admin's server.

        card_id: the message that asked. Raises: NotPossible where there is nothing to answer (any more).
        """
        async with self._database.write() as connection:
            job = await approvals.decide(
                connection,
                admin.guild_id,
                job_id,
                verdict,
                by=admin.user_id,
                card_id=card_id,
                rules=self._defaults,
                now=self._clock(),
            )
        self._wake()
        return job
