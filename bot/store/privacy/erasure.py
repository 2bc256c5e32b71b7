"""Carries out the erasure of one member's data, transaction by transaction.

The member's own request starts it, and the retention worker continues whatever could not be erased at once.
"""

from collections.abc import Callable
from datetime import datetime

from bot.domain.jobs import CancelResult
from bot.domain.member_data import Erasure, ErasureResult
from bot.store.privacy.member_data import MemberDataStore


async def carry_out(
    store: MemberDataStore, erasure: Erasure, now: datetime, *, keep_going: Callable[[], bool] = lambda: True
) -> ErasureResult:
    """Erases everything that can be erased now. If interrupted, the next call continues.

    keep_going: checked between transactions; once it returns False, the rest is left to the next call.
    """
    cancels = [await store.cancel(job_id, now) for job_id in await store.to_cancel(erasure) if keep_going()]
    credits_given_up = await store.give_up_credits(erasure, now)
    jobs = entries = 0
    while keep_going() and (batch := await store.anonymise_jobs(erasure)):
        jobs += batch
    while keep_going() and (batch := await store.anonymise_entries(erasure, now)):
        entries += batch
    while keep_going() and await store.drop_records(erasure, now):
        pass
    return ErasureResult(
        jobs=jobs,
        cancelled=cancels.count(CancelResult.CANCELLED),
        in_progress=cancels.count(CancelResult.FLAGGED),
        credits=credits_given_up,
        entries=entries,
        done=keep_going() and await store.finish(erasure),
    )
