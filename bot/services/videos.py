"""What a command may ask of the machine. The commands parse and render; here it is done.

Every method is short: it writes the store and wakes the worker, it never talks to the upstream or Discord.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Required, TypedDict, Unpack

from bot.domain.errors import CommitUnknown, NotPossible, QuotaRefused, Reason, RuleRefused, StoreError
from bot.domain.jobs import CancelResult, Job, NewJob, Order, new_job_id
from bot.domain.limits import Allowance
from bot.domain.orders import check_order
from bot.domain.policy import Consequence, PromptBlocked, Requester
from bot.media.decode_client import prepare_in_subprocess
from bot.media.first_frame import PictureChanges, PreparedFrame
from bot.operations.clock import Clock
from bot.store.jobs.job_store import JobStore

log = logging.getLogger(__name__)

MAX_DECODERS = 2
"""How many pictures are decoded side by side: each takes a core and up to some hundred megabytes."""

MAX_PICTURES = 6
"""How many pictures are in memory side by side, while they are fetched or wait for a decoder: 25 MB each."""


class OrderOptions(TypedDict, total=False):
    """What a member options, as `bot.domain.orders.check_order` takes it."""

    prompt: Required[str]
    negative_prompt: str | None
    resolution: str | None
    seed: int | None
    prompt_extend: bool
    watermark: bool


@dataclass(frozen=True, slots=True)
class AcceptedOrder:
    """An accepted order. `changes`: what was changed about the picture."""

    job: Job
    changes: PictureChanges


@dataclass(frozen=True, slots=True)
class OrderNotStored(Reason):
    """The database does not take the order just now: it was not accepted, and nothing is charged."""


@dataclass(frozen=True, slots=True)
class NotYourVideo(Reason):
    """There is no such video, or it is another member's or another server's: the three look alike."""


@dataclass(frozen=True, slots=True)
class VideoEnded(Reason):
    """The video is over already."""


class VideoService:
    """The machine's face.

    wake: tells the worker that something may be due. conform: makes a file into a first frame.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        wake: Callable[[], None],
        clock: Clock,
        prepare_first_frame: Callable[[bytes], Awaitable[PreparedFrame]] = prepare_in_subprocess,
    ) -> None:
        self._store = store
        self._wake = wake
        self._clock = clock
        self._prepare_first_frame = prepare_first_frame
        self._decoder_slots = asyncio.Semaphore(MAX_DECODERS)
        self._picture_slots = asyncio.Semaphore(MAX_PICTURES)
        self._arriving: Counter[tuple[int, int]] = Counter()

    async def accept(
        self, requester: Requester, read_picture: Callable[[], Awaitable[bytes]], **options: Unpack[OrderOptions]
    ) -> AcceptedOrder:
        """Takes an order in: rules and limits, a conforming first frame, the job, all or nothing.

        read_picture: fetches the attachment's bytes, whatever they are; called only when the rest is in order.
        Raises: OrderRefused, RuleRefused, QuotaRefused, PictureRefused, NotPossible (it can't be written down).
        """
        order = check_order(**await self._with_resolution(options, requester))
        try:
            with self._count_in(requester) as others:
                # Asked again in the transaction that adds the job; here it spares the picture of what is refused.
                await self._store.check(requester, order, self._clock(), arriving=others)
                async with self._picture_slots:
                    prepared = await self._prepare(await read_picture())
            new = NewJob(new_job_id(), requester.guild_id, requester.channel_id, requester.user_id, order)
            job = await self._store.add(new, prepared.frame, requester, self._clock())
        except (QuotaRefused, RuleRefused) as refused:
            consequence = await self._report(refused, requester, order)
            if not isinstance(refused.reason, PromptBlocked):
                raise
            reason = replace(refused.reason, consequence=consequence)
            raise RuleRefused(reason, rule=reason.rule) from refused
        except CommitUnknown:
            self._wake()  # it may have been taken; the answer says to look before ordering again
            raise
        except StoreError as error:
            raise _not_stored(error) from error
        self._wake()
        return AcceptedOrder(job, prepared.changes)

    async def allowance(self, requester: Requester) -> Allowance:
        """What the member may have and has used in this server."""
        return await self._store.allowance(requester, self._clock())

    async def recent(self, guild_id: int, user_id: int, limit: int = 10) -> list[Job]:
        """The member's latest jobs in this server, newest first."""
        return await self._store.recent(guild_id, user_id, limit)

    async def own_job(self, job_id: str, requester: Requester) -> Job:
        """The member's own job.

        Raises: NotPossible for all others.
        """
        job = await self._store.get(job_id)
        if job is None or (job.guild_id, job.user_id) != (requester.guild_id, requester.user_id):
            raise NotPossible(NotYourVideo())
        return job

    async def cancel(self, job_id: str, requester: Requester, *, paid_too: bool) -> CancelResult:
        """Cancels the member's own job.

        paid_too: whether they know that one under way is paid for and counts. Without, such a job is left
        alone and `PAID` comes back: the question to ask.
        Raises: NotPossible where it is not theirs or over already.
        """
        await self.own_job(job_id, requester)
        result = await self._store.cancel(job_id, self._clock(), paid_too=paid_too)
        if result is CancelResult.ENDED:
            raise NotPossible(VideoEnded())
        self._wake()
        return result

    async def _with_resolution(self, options: OrderOptions, requester: Requester) -> OrderOptions:
        """With a resolution, where none was named. Raises: NotPossible where the database does not answer."""
        if options.get("resolution") is not None:
            return options
        try:
            return options | {"resolution": await self._store.best_resolution(requester.guild_id)}
        except StoreError as error:
            raise _not_stored(error) from error

    async def _report(
        self, refused: QuotaRefused | RuleRefused, requester: Requester, order: Order
    ) -> Consequence:
        """Counts a refusal and has it told to the moderators; what follows from it for the member."""
        now, consequence = self._clock(), Consequence()
        if isinstance(refused.reason, PromptBlocked):
            consequence = await self._store.strike(requester, order.prompt, now)
        reported = await self._store.report_refusal(requester, refused, now, prompt=order.prompt)
        if reported or consequence != Consequence():
            self._wake()
        return consequence

    @contextmanager
    def _count_in(self, requester: Requester) -> Iterator[int]:
        """Counts an order on its way in; how many others of this member in this server are, too."""
        key = requester.guild_id, requester.user_id
        others = self._arriving[key]
        self._arriving[key] += 1
        try:
            yield others
        finally:
            self._arriving[key] -= 1
            if not self._arriving[key]:
                del self._arriving[key]

    async def _prepare(self, picture: bytes) -> PreparedFrame:
        async with self._decoder_slots:
            return await self._prepare_first_frame(picture)


def _not_stored(error: StoreError) -> NotPossible:
    log.error("an order can't be written down, and was not taken: %s", error)
    return NotPossible(OrderNotStored())
