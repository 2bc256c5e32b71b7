"""Fetches a video that was delivered: from its message, or from the video service as long as it keeps it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from bot.domain.errors import DeliveryError, Undeliverable, UpstreamError
from bot.domain.extensions import VideoGone, VideoUnreached
from bot.domain.jobs import Job, JobState, ProviderName
from bot.operations.clock import Clock
from bot.providers.base import Provider

log = logging.getLogger(__name__)


class PostedVideos(Protocol):
    """Reads posted videos; a protocol, since this package must not import `bot.chat`."""

    async def fetch(self, job: Job, to: Path) -> bool:
        """Writes the video in the job's message to a file; False if that message has none.

        Raises: Undeliverable if the message is gone, another DeliveryError if it can't be read now.
        """
        ...


@dataclass(frozen=True, slots=True)
class DeliveredVideos:
    """Videos that were delivered. providers: who made them. lifetime: how long their links work."""

    posted: PostedVideos
    providers: Mapping[ProviderName, Provider]
    clock: Clock
    lifetime: timedelta

    async def fetch(self, job: Job, to: Path, *, pieces: int) -> None:
        """Writes the job's video to a file.

        pieces: of its clip; the service has only the last of them, so a clip of several isn't fetched from there.
        Raises: VideoGone if it doesn't exist any more, also where somebody deleted its message; VideoUnreached if
        it can't be fetched now; OSError.
        """
        if job.state is not JobState.DELIVERED or not job.result_message_id:
            raise VideoGone("it was removed, or its data was deleted")
        try:
            if await self.posted.fetch(job, to):
                return
            problem = "its message has no file"
        except Undeliverable as error:
            raise VideoGone(str(error)) from error
        except DeliveryError as error:
            log.info("job %s: its video can't be read in its channel: %s", job.id, error)
            problem = str(error)
        await self._from_service(job, to, pieces, problem)

    async def _from_service(self, job: Job, to: Path, pieces: int, problem: str) -> None:
        expires_at = (job.submitted_at or job.state_changed_at) + self.lifetime
        provider = None if job.provider is None else self.providers.get(job.provider)
        if provider is None or pieces > 1 or job.result_url is None or self.clock() >= expires_at:
            raise VideoUnreached(problem)
        try:
            await provider.download(job.result_url, to)
        except UpstreamError as error:
            raise VideoUnreached(f"{problem}; {error}") from error
