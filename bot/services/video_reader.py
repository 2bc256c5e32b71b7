"""What members read about their own videos: lists, details, what is left, and whether one can be ordered."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bot.domain.errors import NotPossible, Problem, QuotaRefused, Reason, RuleRefused
from bot.domain.jobs import FailureReason, Job, JobState, Order
from bot.domain.limits import Allowance
from bot.domain.member_settings import SettingsOf, settings_of_nobody
from bot.domain.models import Catalog
from bot.domain.policy import Requester
from bot.domain.quotes import Quote
from bot.domain.video_list import VideoFilter, VideoPage
from bot.media import charts
from bot.operations.clock import Clock
from bot.store.jobs.job_store import JobStore

log = logging.getLogger(__name__)

_DRAWING_S = 5.0
"""How long a member waits for a picture of their quota."""


@dataclass(frozen=True, slots=True)
class VideoDetails:
    """One video for its member. thumbnail: its picture, small; None if that isn't kept.

    download_until: until when the video service keeps it, if it couldn't be posted.
    """

    job: Job
    thumbnail: bytes | None = None
    download_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """Whether a member can order a video at a place now. refusal: why not; None if they can.

    service_closed: the video service takes no orders now, so one would wait.
    """

    allowance: Allowance
    refusal: Reason | None = None
    service_closed: bool = False


_WAIT_FOR_SERVICE = frozenset({JobState.QUEUED, JobState.SUBMITTING})
"""States in which a job waits as long as the service takes no orders."""


class VideoReader:
    """Reads; it changes nothing and wakes nobody.

    task_lifetime: how long the upstream keeps a video. settings_of: reads a member's settings. draw_quota: makes a
    picture of what a member has left; raises OSError if that fails. catalog: the models that are offered.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        clock: Clock,
        task_lifetime: timedelta,
        settings_of: SettingsOf = settings_of_nobody,
        draw_quota: Callable[[Allowance], Awaitable[bytes]] = charts.draw_quota,
        catalog: Catalog = Catalog(),
    ) -> None:
        self.catalog = catalog
        self._store = store
        self._clock = clock
        self._task_lifetime = task_lifetime
        self._settings_of = settings_of
        self._draw_quota = draw_quota
        self._drawing = asyncio.Semaphore(1)

    async def allowance(self, requester: Requester) -> Allowance:
        """What the member may have and has used in this server."""
        return await self._store.allowance(requester, self._clock())

    async def outlook(self, requester: Requester) -> Outlook:
        """Whether the member could order a video here now. Nothing is counted or reported."""
        usual, refusal = await self._usual_order(requester), None
        try:
            await self._store.check(requester, usual, self._clock(), arriving=0)
        except (QuotaRefused, RuleRefused) as refused:
            refusal = refused.reason
        return Outlook(await self.allowance(requester), refusal, await self.is_service_closed())

    async def quote(self, requester: Requester, order: Order | None = None) -> Quote | None:
        """What a video would take from the member now; None where the server shows no quotes. Nothing is reported.

        order: whatever its prompt; None for one without options. Raises: RuleRefused, QuotaRefused.
        """
        order = await self._usual_order(requester) if order is None else order
        return await self._store.quote(requester, order, self._clock())

    async def _usual_order(self, requester: Requester) -> Order:
        """An order without options."""
        wanted = (await self._settings_of(requester.user_id)).resolution
        guild = await self._store.settings_of_guild(requester.guild_id)
        model = self.catalog.usual(guild.allowed_models)
        best = model.best_resolution(guild.allowed_resolutions, wanted)
        return Order("", resolution=best, model=model.name, duration_s=model.durations_s[0])

    async def quota_picture(self, allowance: Allowance) -> bytes | None:
        """What the member has left and when more unlocks, as a PNG; None without a limit, or if drawing fails."""
        if allowance.limits.exempt or not allowance.limits.videos_per_window.value:
            return None
        try:
            async with asyncio.timeout(_DRAWING_S), self._drawing:  # one at a time: it takes a core
                return await self._draw_quota(allowance)
        except OSError as error:  # also a timeout; the text says the same
            log.warning("a picture of a quota could not be drawn: %r", error)
            return None

    async def recent(self, guild_id: int, user_id: int, limit: int = 10) -> list[Job]:
        """The member's latest jobs in this server, newest first."""
        return await self._store.recent(guild_id, user_id, limit)

    async def page(self, guild_id: int, user_id: int, shows: VideoFilter, number: int = 0) -> VideoPage:
        """A page of the member's videos in this server, with their pictures."""
        page = await self._store.history.page(guild_id, user_id, shows, number)
        waits = any(job.state in _WAIT_FOR_SERVICE for job in page.jobs)
        closed = waits and await self.is_service_closed()
        return replace(page, downloads=self.downloads(page.jobs), service_closed=closed)

    async def newest(self, guild_id: int, user_id: int, shows: VideoFilter, limit: int) -> list[Job]:
        """The member's newest videos in this server."""
        return await self._store.history.newest(guild_id, user_id, shows, limit)

    async def details(self, job_id: str, requester: Requester) -> VideoDetails:
        """Everything about one of the member's own videos. Raises: NotPossible for all others."""
        job = await self.own_job(job_id, requester)
        thumbnail = await self._store.history.thumbnail(job.id)
        return VideoDetails(job, thumbnail, self.downloads([job]).get(job.id))

    async def is_service_closed(self, model: str | None = None) -> bool:
        """Whether the video service takes no orders at the moment, so that all wait. model: orders of this one."""
        now = self._clock()
        return (await self._store.first_gate(now, model)).keeps_orders_waiting(now)

    def downloads(self, jobs: Iterable[Job]) -> dict[str, datetime]:
        """The jobs whose video couldn't be posted but is still kept upstream: until when, by job id."""
        now = self._clock()
        ends = {
            job.id: (job.submitted_at or job.state_changed_at) + self._task_lifetime
            for job in jobs
            if job.failure_reason is FailureReason.UNDELIVERABLE
            and job.result_url is not None
            and not job.is_removed
        }
        return {job_id: ends_at for job_id, ends_at in ends.items() if ends_at > now}

    async def find(self, job_id: str) -> Job | None:
        """The job, whoever's it is."""
        return await self._store.get(job_id)

    async def own_job(self, job_id: str, requester: Requester) -> Job:
        """The member's own job. Raises: NotPossible for all others."""
        job = await self._store.get(job_id)
        if job is None or (job.guild_id, job.user_id) != (requester.guild_id, requester.user_id):
            raise NotPossible(Problem.NOT_YOUR_VIDEO)
        return job
