"""Makes a downloaded video one that a channel can show, and one clip with the video that it goes on from.

If the two can't become one, the new one is posted alone and says why: what was paid for is never thrown away.
"""

import asyncio
import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bot.domain.errors import DeliveryDelayed, ResultIncomplete, TooLargeToPost
from bot.domain.extensions import Clip, Extension, NotJoined, VideoGone, VideoUnreached, extended
from bot.domain.jobs import Job
from bot.media import joining, transcode
from bot.media.video_layout import VideoIncomplete, plays_inline
from bot.store.jobs.extensions import ExtensionStore
from bot.worker.stages.context import StageContext

log = logging.getLogger(__name__)

_MAX_CLAIMS = 2
"""A job that was claimed more often may bring its workers down by being joined."""


class DownloadedVideo:
    """A job's video on this machine, in `folder`. `clip`: what it becomes, None if it extends no other."""

    def __init__(self, job: Job, folder: Path, context: StageContext) -> None:
        self._job, self._context = job, context
        self._piece, self._parent, self._joined = (
            folder / f"{name}.mp4" for name in ("video", "parent", "joined")
        )
        self.clip: Clip | None = None

    async def download(self, url: str) -> None:
        """Fetches the job's video, and the one that it goes on from.

        Raises: what `Provider.download` does; ResultIncomplete; DeliveryDelayed while the other one can't be
        fetched, but not for long; StoreError.
        """
        await self._context.provider_of(self._job).download(url, self._piece)
        if self._context.extensions is None:
            return
        extension = await self._context.extensions.of(self._job.id)
        if extension is not None:
            self.clip = await self._with_parent(extension.parent_id, self._context.extensions)

    async def fit(self, limit_bytes: int) -> Path:
        """The file as the channel can show it.

        Raises: ResultIncomplete, TooLargeToPost, VideoUnusable; StoreError.
        """
        fitted = None
        if self.clip is not None and self.clip.not_joined is None:
            fitted = await self._join(limit_bytes)
            self.clip = self.clip if fitted else self._alone(NotJoined.NOT_JOINABLE)
        if self.clip is not None and self._context.extensions is not None:
            await self._context.extensions.record_clip(self._job, self.clip)
        return fitted or await self._fit_piece(limit_bytes)

    def _alone(self, why: NotJoined) -> Clip:
        return Clip(1, self._job.order.duration_s, why)

    async def _with_parent(self, parent_id: str, extensions: ExtensionStore) -> Clip:
        """Fetches the video before; what it makes with this one."""
        parent = await self._context.store.get(parent_id)
        if parent is None:
            return self._alone(NotJoined.PARENT_GONE)
        # Not as recorded: an earlier attempt may have meant to post this part alone.
        whole = extended(parent, await extensions.of(parent_id), self._job.order.duration_s)
        why = await self._fetch_parent(parent, whole)
        return Clip(whole.pieces, whole.seconds) if why is None else self._alone(why)

    async def _fetch_parent(self, parent: Job, whole: Extension) -> NotJoined | None:
        """Fetches the video before; why that is impossible, if it is."""
        delivered = self._context.delivered
        if delivered is None:
            return NotJoined.PARENT_GONE
        try:
            await delivered.fetch(parent, self._parent, pieces=whole.pieces - 1)
        except VideoGone as error:
            log.info("job %s: the video that it extends is gone: %s", self._job.id, error)
            return NotJoined.PARENT_GONE
        except VideoUnreached as error:
            if self._context.observed_for(self._job.state_changed_at) < self._context.config.result_patience:
                raise DeliveryDelayed(str(error)) from error
            log.warning("job %s: the video that it extends can't be fetched: %s", self._job.id, error)
            return NotJoined.PARENT_UNREACHED
        return None

    async def _join(self, limit_bytes: int) -> Path | None:
        """One file of both; None if they can't become one."""
        if self._job.claim_count > _MAX_CLAIMS:
            return None
        try:
            await asyncio.to_thread(plays_inline, self._piece)  # whole, or it is downloaded again
        except VideoIncomplete as error:
            raise ResultIncomplete(str(error)) from error
        slots = self._context.encoder_slots
        try:
            return await joining.join(self._parent, self._piece, self._joined, limit_bytes, slots=slots)
        except (transcode.VideoUnusable, OSError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            log.warning("job %s: it can't be joined with the video that it extends: %s", self._job.id, error)
            return None

    async def _fit_piece(self, limit_bytes: int) -> Path:
        fitted = self._piece.with_name("fitted.mp4")
        slots = self._context.encoder_slots
        try:
            return await transcode.make_postable(self._piece, fitted, limit_bytes, slots=slots)
        except VideoIncomplete as error:
            raise ResultIncomplete(str(error)) from error
        except transcode.VideoTooLarge as error:
            raise TooLargeToPost(str(error), limit_bytes=0) from error


@contextmanager
def download_folder(context: StageContext) -> Iterator[Path]:
    """A folder for downloads, which is removed with all that is in it."""
    context.workdir.mkdir(mode=0o700, exist_ok=True)  # the system may have deleted it while the bot was idle
    with TemporaryDirectory(dir=context.workdir) as folder:
        yield Path(folder)
