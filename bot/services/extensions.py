"""Orders videos that go on from the last frame of another one.

Such an order is like any other, but for where its picture comes from, and that its video becomes one clip with the
other one (`bot/worker/stages/clips.py`).
"""

import asyncio
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bot.domain.errors import NotPossible
from bot.domain.extensions import (
    ClipTooLong,
    Extension,
    ExtensionProblem,
    VideoGone,
    VideoUnreached,
    extended,
    may_be_extended,
)
from bot.domain.jobs import Job, JobState, PictureLabels
from bot.domain.orders import model_of
from bot.domain.policy import Requester
from bot.domain.repeats import repeated_job_id
from bot.media import joining
from bot.media.prepared_frame import PictureChanges
from bot.media.transcode import VideoUnusable
from bot.providers.delivered_videos import DeliveredVideos
from bot.services.videos import AcceptedOrder, SayQuote, VideoService, say_nothing
from bot.store.jobs.extensions import ExtensionStore

log = logging.getLogger(__name__)

MAX_FETCHED = 2
"""How many videos are fetched for their last frame at the same time."""


@dataclass(frozen=True, slots=True)
class AcceptedExtension:
    """An accepted order of a video that goes on from `parent`."""

    order: AcceptedOrder
    parent: Job
    extension: Extension


class ExtensionService:
    """Extends videos. workdir: holds a video until its last frame is taken. max_seconds: of a whole clip."""

    def __init__(
        self,
        videos: VideoService,
        extensions: ExtensionStore,
        delivered: DeliveredVideos,
        *,
        workdir: Path,
        max_seconds: int,
    ) -> None:
        self._videos = videos
        self._extensions = extensions
        self._delivered = delivered
        self._workdir = workdir
        self._max_seconds = max_seconds
        self._slots = asyncio.Semaphore(MAX_FETCHED)

    async def extendable(
        self, job_id: str, requester: Requester, *, message_id: int | None = None
    ) -> tuple[Job, Extension]:
        """The job whose video the member may extend, and what that makes.

        message_id: of the message with the video, if they clicked there; it may not be written yet. Raises:
        NotPossible; OrderRefused if its model isn't offered any more.
        """
        parent = await self._videos.find(job_id)
        if parent is not None and parent.state is JobState.DELIVERING and message_id is not None:
            parent = replace(parent, state=JobState.DELIVERED, result_message_id=message_id)
        if parent is None or not may_be_extended(parent, requester):
            raise NotPossible(ExtensionProblem.NOT_HERE)
        if not parent.result_message_id:
            raise NotPossible(ExtensionProblem.GONE)
        if not model_of(self._videos.catalog, parent.order.model).can_extend:
            raise NotPossible(ExtensionProblem.NOT_BY_MODEL)
        duration_s = parent.order.duration_s
        extension = extended(parent, await self._extensions.of(job_id), duration_s)
        if extension.seconds > self._max_seconds:
            raise NotPossible(ClipTooLong(extension.seconds - duration_s, self._max_seconds))
        return parent, extension

    async def extend(
        self,
        job_id: str,
        requester: Requester,
        prompt: str,
        *,
        interaction_id: int,
        message_id: int | None = None,
        say_quote: SayQuote = say_nothing,
    ) -> AcceptedExtension:
        """Orders a video that goes on from this job's, with the same options and a new prompt.

        Anybody may extend what they see in their channel; it counts for them, not for who made it. interaction_id:
        what asks for it; the same one gives the same job, however often. message_id: see `extendable`.
        say_quote: see `VideoService.accept`. Raises: NotPossible, and what `VideoService.accept` raises.
        """
        parent, extension = await self.extendable(job_id, requester, message_id=message_id)
        new_id = repeated_job_id(parent, requester.user_id, interaction_id)
        if (known := await self._videos.find(new_id)) is not None:
            return AcceptedExtension(AcceptedOrder(known, PictureChanges()), parent, extension)
        order = parent.order
        accepted = await self._videos.accept(
            requester,
            lambda: self._last_frame(parent, extension),
            picture=PictureLabels(parent.picture_name, parent.picture_alt_text),
            extends=extension,
            job_id=new_id,
            say_quote=say_quote,
            prompt=prompt,
            negative_prompt=order.negative_prompt,
            resolution=order.resolution,
            prompt_extend=order.prompt_extend,
            watermark=order.watermark,
            model=order.model,
            duration_s=order.duration_s,
        )
        return AcceptedExtension(accepted, parent, extension)

    async def _last_frame(self, parent: Job, extension: Extension) -> bytes:
        """The parent's last frame, as a file. Raises: NotPossible."""
        self._workdir.mkdir(mode=0o700, exist_ok=True)  # the system may have deleted it while the bot was idle
        async with self._slots:
            with TemporaryDirectory(dir=self._workdir) as folder:
                video = Path(folder) / "video.mp4"
                try:
                    await self._delivered.fetch(parent, video, pieces=extension.pieces - 1)
                    return await joining.last_frame(video, video.with_name("last.png"))
                except VideoGone as error:
                    raise NotPossible(ExtensionProblem.GONE) from error
                except VideoUnreached as error:
                    log.info("job %s: its video can't be fetched to extend it: %s", parent.id, error)
                    raise NotPossible(ExtensionProblem.UNREACHED) from error
                except VideoUnusable as error:
                    log.warning("job %s: its last frame can't be taken: %s", parent.id, error)
                    raise NotPossible(ExtensionProblem.UNREADABLE) from error
                except OSError as error:  # the disk is full, or no process started
                    log.warning("job %s: its last frame can't be taken now: %s", parent.id, error)
                    raise NotPossible(ExtensionProblem.UNREACHED) from error
