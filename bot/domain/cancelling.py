"""What cancelling a job, or several together, comes to. Pure; see also `CancelResult` in `bot.domain.jobs`."""

from collections.abc import Iterable
from dataclasses import dataclass

from bot.domain.jobs import CancelResult, Job


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The result of cancelling, and the job as it was before."""

    job: Job
    result: CancelResult


@dataclass(frozen=True, slots=True)
class CancelledTogether:
    """How many variations were cancelled: free ones, and ones that are in progress.

    paid: how many of the latter were left alone. stoppable: how many of those in progress may still be stopped.
    """

    free: int = 0
    flagged: int = 0
    paid: int = 0
    stoppable: int = 0

    @classmethod
    def of(cls, cancelled: Iterable[Cancelled]) -> "CancelledTogether":
        """What cancelling each of them comes to."""
        done = list(cancelled)
        results = [one.result for one in done]
        return cls(
            results.count(CancelResult.CANCELLED),
            results.count(CancelResult.FLAGGED),
            results.count(CancelResult.PAID),
            sum(one.job.may_be_stopped and one.result is not CancelResult.ENDED for one in done),
        )

    @property
    def in_progress(self) -> int:
        """How many were in progress."""
        return self.flagged + self.paid
