"""What members' commands do: order and cancel videos.

The methods write to the store and wake the worker; they never talk to the upstream or Discord.
"""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Required, TypedDict, TypeVar, Unpack

from bot.domain.cancelling import Cancelled, CancelledTogether
from bot.domain.errors import CommitUnknown, NotPossible, Problem, QuotaRefused, RuleRefused, StoreError
from bot.domain.extensions import Extension
from bot.domain.jobs import (
    UNLABELLED,
    CancelResult,
    Frame,
    Job,
    JobState,
    NewJob,
    Order,
    PictureLabels,
    new_job_id,
)
from bot.domain.limits import Allowance
from bot.domain.member_settings import UNCHANGED, MemberSettings, SettingsOf, settings_of_nobody
from bot.domain.models import Catalog, PictureLimits
from bot.domain.orders import check_order, model_of
from bot.domain.policy import Consequence, PromptBlocked, Requester
from bot.domain.quotes import Quote
from bot.domain.repeats import KeptFrame, OrderChanges, repeated_job_id, repeated_order
from bot.domain.variations import variations_of
from bot.media import charts
from bot.media.prepared_frame import PictureChanges, PreparedFrame
from bot.operations.clock import Clock
from bot.services.video_reader import VideoReader
from bot.store.jobs.job_store import JobStore

log = logging.getLogger(__name__)

_T = TypeVar("_T")

MAX_DECODERS = 2
"""How many pictures are decoded at the same time; each takes a core and up to some hundred megabytes."""

MAX_PICTURES = 6
"""How many pictures are in memory at the same time, each up to 25 MB."""


SayQuote = Callable[[Quote], Awaitable[None]]
"""Tells a member what their order takes, while it can still be refused. It raises nothing."""


async def say_nothing(_: Quote) -> None:
    """Tells nobody."""


class OrderOptions(TypedDict, total=False):
    """The options of an order, as `bot.domain.orders.check_order` takes them; None for the member's settings.

    model: its name; None for the usual one.
    """

    prompt: Required[str]
    negative_prompt: str | None
    resolution: str | None
    seed: int | None
    prompt_extend: bool | None
    watermark: bool | None
    model: str | None
    duration_s: int | None


@dataclass(frozen=True, slots=True)
class AcceptedOrder:
    """An accepted order. `changes`: what was changed about the picture.

    service_closed: the video service takes no orders at the moment, so this one waits. allowance: what the member
    has left; None if that can't be read now. settings: the member's. others: the variations that were
    ordered with `job`.
    """

    job: Job
    changes: PictureChanges
    service_closed: bool = False
    allowance: Allowance | None = None
    settings: MemberSettings = UNCHANGED
    others: tuple[Job, ...] = ()

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All of them."""
        return self.job, *self.others


class VideoService(VideoReader):
    """What members may do with their videos. wake: tells the worker that something may be due.

    prepare_first_frame: turns a member's file into a first frame within limits. expect_picture: called before
    a file is fetched. The others: see `VideoReader`.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        wake: Callable[[], None],
        clock: Clock,
        prepare_first_frame: Callable[[bytes, PictureLimits], Awaitable[PreparedFrame]],
        expect_picture: Callable[[], None] = lambda: None,
        task_lifetime: timedelta,
        settings_of: SettingsOf = settings_of_nobody,
        draw_quota: Callable[[Allowance], Awaitable[bytes]] = charts.draw_quota,
        catalog: Catalog = Catalog(),
    ) -> None:
        super().__init__(
            store,
            clock=clock,
            task_lifetime=task_lifetime,
            settings_of=settings_of,
            draw_quota=draw_quota,
            catalog=catalog,
        )
        self._wake = wake
        self._prepare_first_frame = prepare_first_frame
        self._expect_picture = expect_picture
        self._decoder_slots = asyncio.Semaphore(MAX_DECODERS)
        self._picture_slots = asyncio.Semaphore(MAX_PICTURES)
        self._arriving: Counter[tuple[int, int]] = Counter()

    async def accept(
        self,
        requester: Requester,
        read_picture: Callable[[], Awaitable[bytes]],
        *,
        picture: PictureLabels = UNLABELLED,
        variations: int = 1,
        extends: Extension | None = None,
        job_id: str | None = None,
        say_quote: SayQuote = say_nothing,
        **options: Unpack[OrderOptions],
    ) -> AcceptedOrder:
        """Accepts an order: checks policy and quota, prepares the first frame and adds the job, all or nothing.

        read_picture: fetches the attachment's bytes; called only if everything else is valid. picture: what the
        member called it. variations: how many videos, each a job with a seed of its own. extends: what the video
        goes on from. job_id: its job's, of which one is accepted however often it arrives; None for a new one.
        say_quote: called with what the order takes, before the picture is read and the order accepted.
        Raises: OrderRefused, RuleRefused, QuotaRefused, PictureRefused, NotPossible (it can't be stored).
        """
        settings = await self._settings(requester)
        order = check_order(**await self._with_defaults(options, requester, settings))
        limits = model_of(self.catalog, order.model).picture
        labels = settings.labels(picture)
        news = [_new_job(new_job_id(), requester, each, labels) for each in variations_of(order, variations)]
        if job_id is not None:
            news[0] = replace(news[0], id=job_id)

        async def prepare() -> tuple[Frame, PictureChanges]:
            # A video takes minutes to fetch, and only a few are fetched at a time: no picture waits for them.
            fetched = None if extends is None else await read_picture()
            async with self._picture_slots:
                self._expect_picture()
                data = await read_picture() if fetched is None else fetched
                async with self._decoder_slots:
                    prepared = await self._prepare_first_frame(data, limits)
            return prepared.frame, prepared.changes

        return await self._accept(news, requester, settings, prepare, say_quote, extends)

    async def order_again(
        self,
        job_id: str,
        requester: Requester,
        changes: OrderChanges,
        *,
        interaction_id: int,
        variations: int = 1,
        say_quote: SayQuote = say_nothing,
    ) -> AcceptedOrder:
        """Accepts an order of an earlier video with changes, as the requester's own, by all rules.

        interaction_id: what asks for it; the same one gives the same job, however often. variations,
        say_quote: see `accept`. Raises: like `accept`, and like `repeatable`.
        """
        settings, earlier = await self._settings(requester), await self.repeatable(job_id, requester)
        order = repeated_order(earlier.order, changes, secrets.randbelow, self.catalog)
        labels = settings.labels(PictureLabels(earlier.picture_name, earlier.picture_alt_text))
        news = [
            _new_job(repeated_job_id(earlier, requester.user_id, interaction_id, number), requester, each, labels)
            for number, each in enumerate(variations_of(order, variations))
        ]
        if (known := await self._reading(self._store.get(news[0].id))) is not None:
            others = (await self._reading(self._store.ordered_with(known.id)))[1:]
            return AcceptedOrder(known, PictureChanges(), settings=settings, others=tuple(others))

        async def keep() -> tuple[KeptFrame, PictureChanges]:
            return KeptFrame(earlier.id), PictureChanges()

        return await self._accept(news, requester, settings, keep, say_quote)

    async def _accept(
        self,
        news: Sequence[NewJob],
        requester: Requester,
        settings: MemberSettings,
        prepare: Callable[[], Awaitable[tuple[Frame | KeptFrame, PictureChanges]]],
        say_quote: SayQuote,
        extends: Extension | None = None,
    ) -> AcceptedOrder:
        """Accepts all jobs of a valid order. prepare: makes its first frame, once it is known to be allowed."""
        order, count = news[0].order, len(news)
        try:
            with self._count_in(requester, count) as others:
                # Checked again in the transaction that adds the job; here it saves fetching pictures for nothing.
                quote = await self._store.check(requester, order, self._clock(), arriving=others, count=count)
                if quote is not None:
                    await say_quote(quote)
                frame, changes = await prepare()
            service_closed = await self.is_service_closed(order.model)
            job, *rest = await self._store.add_together(news, frame, requester, self._clock(), extends=extends)
        except (QuotaRefused, RuleRefused) as refused:
            consequence = await self._report(refused, requester, order)
            if not isinstance(refused.reason, PromptBlocked):
                raise
            reason = replace(refused.reason, consequence=consequence)
            raise RuleRefused(reason, rule=reason.rule) from refused
        except CommitUnknown:
            self._wake()  # it may have been accepted; the reply says to check before ordering again
            raise
        except StoreError as error:
            raise _not_stored(error) from error
        self._wake()
        left = await self._what_is_left(requester)
        return AcceptedOrder(job, changes, service_closed, left, settings, tuple(rest))

    async def _what_is_left(self, requester: Requester) -> Allowance | None:
        try:
            return await self.allowance(requester)
        except StoreError as error:  # the order is accepted all the same
            log.warning("what a member has left can't be read: %s", error)
            return None

    async def visible(self, job_id: str, requester: Requester) -> Job:
        """The member's own job in this server, or one whose video was posted in the channel where they ask.

        Raises: NotPossible for all others.
        """
        job = await self._reading(self._store.get(job_id))
        if job is None or not _is_visible(job, requester):
            raise NotPossible(Problem.VIDEO_NOT_KNOWN)
        return job

    async def repeatable(self, job_id: str, requester: Requester) -> Job:
        """A visible job that can be made again. Raises: NotPossible, also if its picture is gone."""
        job = await self.visible(job_id, requester)
        if not await self.with_pictures([job]):
            raise NotPossible(Problem.PICTURE_NOT_KEPT)
        return job

    async def with_pictures(self, jobs: Iterable[Job]) -> list[Job]:
        """Those of the jobs that can be made again, because their picture is still there."""
        candidates = [job for job in jobs if not job.is_removed]
        ids = await self._reading(self._store.with_pictures([job.id for job in candidates]))
        return [job for job in candidates if job.id in ids]

    async def cancel(self, job_id: str, requester: Requester, *, even_if_paid: bool) -> Cancelled:
        """Cancels the member's own job.

        even_if_paid: also cancel a job that is probably paid for and counts; otherwise it is left alone and the
        result is `PAID`, so that the member can be asked. Raises: NotPossible if it is not theirs or has ended.
        """
        job = await self.own_job(job_id, requester)
        result = await self._store.cancel(job_id, self._clock(), even_if_paid=even_if_paid)
        if result is CancelResult.ENDED:
            raise NotPossible(Problem.VIDEO_ENDED)
        self._wake()
        return Cancelled(job, result)

    async def cancel_together(self, job_id: str, requester: Requester, *, even_if_paid: bool) -> CancelledTogether:
        """Cancels the member's own job and its variations, as `cancel` does each.

        Raises: NotPossible if they are not theirs or have all ended.
        """
        job = await self.own_job(job_id, requester)
        together = await self._store.ordered_with(job_id) or [job]
        now = self._clock()
        done = [
            Cancelled(one, await self._store.cancel(one.id, now, even_if_paid=even_if_paid))
            for one in together
            if not one.cancel_requested
        ]
        if all(one.result is CancelResult.ENDED for one in done):
            raise NotPossible(Problem.VIDEO_ENDED)
        self._wake()
        return CancelledTogether.of(done)

    async def video_removed(self, job_id: str, message_id: int, *, guild_id: int | None) -> None:
        """Records that the message with the job's video was removed: its status must not link to it any more.

        guild_id: where it was, so that a moderator's click says nothing about another server's video; None for a
        direct message.
        """
        job = await self._store.get(job_id)
        if job is None or guild_id not in {None, job.guild_id}:
            return
        if await self._store.mark_removed(job_id, message_id, self._clock()):
            self._wake()

    async def _settings(self, requester: Requester) -> MemberSettings:
        """The member's settings. Raises: NotPossible if the database is unavailable."""
        return await self._reading(self._settings_of(requester.user_id))

    async def _reading(self, read: Awaitable[_T]) -> _T:
        """What an order depends on. Raises: NotPossible if the database is unavailable."""
        try:
            return await read
        except StoreError as error:
            raise _not_stored(error) from error

    async def _with_defaults(
        self, options: OrderOptions, requester: Requester, settings: MemberSettings
    ) -> dict[str, Any]:
        """The options with what the member left open.

        Raises: NotPossible if the database is unavailable; OrderRefused if the model isn't offered.
        """
        guild = await self._reading(self._store.settings_of_guild(requester.guild_id))
        name = options.get("model")
        model = self.catalog.usual(guild.allowed_models) if name is None else model_of(self.catalog, name)
        defaults: dict[str, Any] = {
            "prompt_extend": settings.prompt_extend,
            "watermark": settings.watermark,
            "resolution": model.best_resolution(guild.allowed_resolutions, settings.resolution),
        }
        given = {name: value for name, value in options.items() if value is not None}
        return defaults | given | {"model": model}

    async def _report(
        self, refused: QuotaRefused | RuleRefused, requester: Requester, order: Order
    ) -> Consequence:
        """Counts a refusal and reports it to the moderators; returns its consequence for the member."""
        now, consequence = self._clock(), Consequence()
        if isinstance(refused.reason, PromptBlocked):
            consequence = await self._store.record_violation(requester, order.prompt, now)
        reported = await self._store.report_refusal(requester, refused, now, prompt=order.prompt)
        if reported or consequence != Consequence():
            self._wake()
        return consequence

    @contextmanager
    def _count_in(self, requester: Requester, videos: int) -> Iterator[int]:
        """Counts an order's videos while it is being accepted; yields how many others this member has."""
        key = requester.guild_id, requester.user_id
        others = self._arriving[key]
        self._arriving[key] += videos
        try:
            yield others
        finally:
            self._arriving[key] -= videos
            if not self._arriving[key]:
                del self._arriving[key]


def _new_job(job_id: str, requester: Requester, order: Order, picture: PictureLabels) -> NewJob:
    return NewJob(job_id, requester.guild_id, requester.channel_id, requester.user_id, order, picture)


_POSTED = {JobState.DELIVERING, JobState.DELIVERED}
"""States in which the video may be in its channel."""


def _is_visible(job: Job, requester: Requester) -> bool:
    is_own = job.user_id == requester.user_id
    if job.has_channel:
        is_here = job.channel_id == requester.channel_id
    else:  # then all that shows that they see it is the message that they clicked
        is_here = job.result_message_id is not None and job.result_message_id == requester.message_id
    is_posted_here = job.state in _POSTED and is_here and job.result_channel_id is None
    return job.guild_id == requester.guild_id and (is_own or (is_posted_here and not job.is_removed))


def _not_stored(error: StoreError) -> NotPossible:
    log.error("an order couldn't be stored and was not accepted: %s", error)
    return NotPossible(Problem.ORDER_NOT_STORED)
