"""What a member may ask about their own data: what is kept, a copy of it, and that it goes.

Deleting begins at once and may take until the next time the keeper looks (`bot.worker.retention`): a video that
is being
made is looked after to its end first, and a quota keeps counting what it counted.
"""

import asyncio
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from bot.domain.jobs import CancelResult
from bot.domain.member_data import Erasure, ErasurePreview, MemberData, Terms, document
from bot.operations.clock import Clock

_KINDS = {
    "jobs": "videos",
    "entries": "ledger",
    "grants": "credits",
    "violations": "blocked_prompts",
    "changes": "changes_made",
}
"""What grows with use, and its key in the export."""


class Eraser(Protocol):
    """What carrying out a deletion needs of the store; each call is one short transaction."""

    async def to_cancel(self, erasure: Erasure) -> list[str]:
        """The member's jobs that are not over and not given up yet."""
        ...

    async def cancel(self, job_id: str, now: datetime) -> CancelResult:
        """Ends a job that waits; flags one under way."""
        ...

    async def give_up_credits(self, erasure: Erasure, now: datetime) -> int:
        """Writes off the member's grants; how many videos that was."""
        ...

    async def anonymise_jobs(self, erasure: Erasure) -> int:
        """Anonymises a batch of jobs; how many."""
        ...

    async def anonymise_entries(self, erasure: Erasure, now: datetime) -> int:
        """Takes the name off a batch of the ledger's lines; how many."""
        ...

    async def drop_records(self, erasure: Erasure, now: datetime) -> int:
        """Deletes what counts no more against the member; how many."""
        ...

    async def finish(self, erasure: Erasure) -> bool:
        """Forgets the wish where nothing is left; whether it is so."""
        ...


class Archive(Eraser, Protocol):
    """What members' questions need of the store."""

    async def held(self, user_id: int) -> MemberData:
        """All that is kept about the member."""
        ...

    async def outlook(self, user_id: int) -> ErasurePreview:
        """What a deletion would meet."""
        ...

    async def ask(self, user_id: int, now: datetime) -> Erasure:
        """Writes down that the member's data is to go."""
        ...


@dataclass(frozen=True, slots=True)
class Erased:
    """What a deletion did. entries: lines of the ledger. done: nothing is left of what was there."""

    jobs: int = 0
    cancelled: int = 0
    under_way: int = 0
    credits: int = 0
    entries: int = 0
    done: bool = False


@dataclass(frozen=True, slots=True)
class DataExport:
    """An export as a file. whole: nothing was left out for its size."""

    filename: str
    data: bytes
    whole: bool


class Privacy:
    """Members' rights to their data. wake: tells the worker that a job was cancelled."""

    def __init__(self, archive: Archive, terms: Terms, *, wake: Callable[[], None], clock: Clock) -> None:
        self._archive = archive
        self._wake = wake
        self._clock = clock
        self.terms = terms

    async def export(self, user_id: int, limit_bytes: int) -> DataExport:
        """The member's own data over all servers, in a file of at most `limit_bytes`."""
        held = await self._archive.held(user_id)
        return await asyncio.to_thread(packed, held, self._clock(), limit_bytes)

    async def outlook(self, user_id: int) -> ErasurePreview:
        """What a deletion would meet at this moment."""
        return await self._archive.outlook(user_id)

    async def erase(self, user_id: int) -> Erased:
        """Has all that is there now deleted, and does as much of it as can be done at once."""
        now = self._clock()
        erased = await carry_out(self._archive, await self._archive.ask(user_id, now), now)
        self._wake()
        return erased


async def carry_out(
    eraser: Eraser, erasure: Erasure, now: datetime, *, go_on: Callable[[], bool] = lambda: True
) -> Erased:
    """Does what can be done of a deletion now. Broken off anywhere, the next call goes on with it.

    go_on: asked between two transactions; where it says no, the rest is left to the next call.
    """
    cancels = [await eraser.cancel(job_id, now) for job_id in await eraser.to_cancel(erasure) if go_on()]
    given_up = await eraser.give_up_credits(erasure, now)
    jobs = entries = 0
    while go_on() and (batch := await eraser.anonymise_jobs(erasure)):
        jobs += batch
    while go_on() and (batch := await eraser.anonymise_entries(erasure, now)):
        entries += batch
    while go_on() and await eraser.drop_records(erasure, now):
        pass
    return Erased(
        jobs=jobs,
        cancelled=cancels.count(CancelResult.CANCELLED),
        under_way=cancels.count(CancelResult.FLAGGED),
        credits=given_up,
        entries=entries,
        done=go_on() and await eraser.finish(erasure),
    )


def packed(held: MemberData, at: datetime, limit_bytes: int) -> DataExport:
    """The export as a file that fits: as text, else compressed, else without the oldest of what is most."""
    name = f"zoetrope-data-{at:%Y-%m-%d}.json"
    while True:
        text = json.dumps(document(held, at), ensure_ascii=False, indent=1).encode("utf-8", "replace")
        whole = not held.left_out
        if len(text) <= limit_bytes:
            return DataExport(name, text, whole)
        if len(small := gzip.compress(text, mtime=0)) <= limit_bytes:
            return DataExport(f"{name}.gz", small, whole)
        kind = max(_KINDS, key=lambda it: len(getattr(held, it)))
        if not getattr(held, kind):
            return DataExport(f"{name}.gz", small, whole)  # bare bones: nothing is left to leave out
        held = _halved(held, kind)


def _halved(held: MemberData, kind: str) -> MemberData:
    rows = getattr(held, kind)
    keep = rows[: len(rows) // 2]
    left_out = dict(held.left_out or {})
    left_out[_KINDS[kind]] = left_out.get(_KINDS[kind], 0) + len(rows) - len(keep)
    changes: dict[str, object] = {kind: keep, "left_out": left_out}
    return replace(held, **changes)  # type: ignore[arg-type]  # one of the tuples, cut
