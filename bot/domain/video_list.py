"""A member's list of their own videos, in pages. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from bot.domain.jobs import ACTIVE, Job, JobState

PAGE_SIZE = 5
"""How many videos a page shows."""


class VideoFilter(StrEnum):
    """Which videos a list shows. The texts are in the custom ids of posted messages."""

    ALL = "all"
    IN_PROGRESS = "progress"
    READY = "ready"  # without those that somebody removed
    WITHOUT_VIDEO = "failed"  # failed or cancelled, also while one that was cancelled is still being made

    @property
    def states(self) -> frozenset[JobState]:
        """The states of the videos that it shows."""
        match self:
            case VideoFilter.IN_PROGRESS:
                return ACTIVE
            case VideoFilter.READY:
                return frozenset({JobState.DELIVERED})
            case VideoFilter.WITHOUT_VIDEO:
                return frozenset({JobState.FAILED, JobState.CANCELLED})
            case _:
                return frozenset(JobState)


@dataclass(frozen=True, slots=True)
class VideoPage:
    """One page of a list, the newest video first.

    number: which page, from 0. count: how many pages there are, at least 1. thumbnails: small JPEGs of the
    pictures that are kept, by job id. downloads: until when the video service keeps a video that couldn't be
    posted, by job id. service_closed: whether one of them waits because the service takes no orders.
    """

    shows: VideoFilter
    jobs: tuple[Job, ...]
    number: int = 0
    count: int = 1
    thumbnails: Mapping[str, bytes] = field(default_factory=dict)
    downloads: Mapping[str, datetime] = field(default_factory=dict)
    service_closed: bool = False


def page_count(videos: int) -> int:
    """How many pages that many videos take."""
    return max(1, -(-videos // PAGE_SIZE))
