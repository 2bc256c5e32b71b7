"""What the status card of a job in progress says, and when it is worth an edit. Pure.

Discord limits how often messages are edited, and every edit costs requests, so a card changes at once only with
what its reader waits for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bot.domain.extensions import ParentMessage
from bot.domain.jobs import Job, JobState
from bot.domain.waiting import NOTHING_KNOWN, Wait

SOONEST = timedelta(seconds=2)
"""The shortest time between two edits of a card."""

SELDOM = timedelta(seconds=10)
"""The shortest time between two edits that only correct the time or the bar."""

BAR_STEPS = 10

_WAITS_FOR_SERVICE = frozenset({JobState.QUEUED, JobState.SUBMITTING})


@dataclass(frozen=True, slots=True)
class StatusCard:
    """What a card says about a job.

    state: the job's. wait: how much longer it takes. service_closed: the video service takes no orders at the
    moment. is_cancelled: its member has cancelled it, and the task that was paid for ends by itself.
    has_thumbnail: whether its message carries the picture. parent: the video that the job goes on from.
    """

    state: JobState
    wait: Wait = NOTHING_KNOWN
    service_closed: bool = False
    is_cancelled: bool = False
    has_thumbnail: bool = False
    parent: ParentMessage | None = None

    @property
    def is_held_up(self) -> bool:
        """Whether the job waits until the video service takes orders again."""
        return self.service_closed and self.state in _WAITS_FOR_SERVICE

    @property
    def bar(self) -> int | None:
        """How many of `BAR_STEPS` are filled; None without a bar."""
        share = self.wait.share
        return None if share is None or self.is_held_up or self.is_cancelled else round(share * BAR_STEPS)

    @property
    def headline(self) -> tuple[object, ...]:
        """What its reader waits for."""
        return self.state, self.wait.ahead, self.wait.is_unusual, self.is_held_up, self.is_cancelled

    def following(self, shown: "StatusCard") -> "StatusCard":
        """This card after one that was shown: its bar doesn't go back."""
        before, share = shown.wait.share, self.wait.share
        further = before if share is None or (before is not None and before > share) else share
        return replace(self, wait=replace(self.wait, share=further), has_thumbnail=shown.has_thumbnail)

    def is_news(self, shown: "StatusCard") -> bool:
        """Whether its reader waits for what it says and the shown one doesn't."""
        return self.headline != shown.headline

    def replaces(self, shown: "StatusCard", shown_for: timedelta) -> bool:
        """Whether the shown card, which was edited that long ago, is to be edited to this one."""
        if shown_for < SOONEST:
            return False
        if self.is_news(shown):
            return True
        return shown_for >= SELDOM and (self.bar != shown.bar or self._is_another_time(shown))

    def _is_another_time(self, shown: "StatusCard") -> bool:
        """Whether the expected time moved by more than a fifth of what is left, and by seconds that matter."""
        now_said, said = self.wait.likely_at, shown.wait.likely_at
        if now_said is None or said is None:
            return now_said is not said
        late = self.wait.late_at or now_said
        return abs(now_said - said) > max(timedelta(seconds=10), (late - now_said) / 2)


@dataclass(frozen=True, slots=True)
class VariationsCard:
    """The one card of jobs that were ordered together: what it says about each of them, in their order."""

    jobs: tuple[Job, ...]
    cards: tuple[StatusCard, ...]

    @property
    def has_thumbnail(self) -> bool:
        """Whether its message carries the picture."""
        return any(card.has_thumbnail for card in self.cards)


AnyCard = StatusCard | VariationsCard


def shared_message_id(jobs: Sequence[Job]) -> int | None:
    """The message with the card of these variations, as soon as one of them knows it."""
    return next((job.status_message_id for job in jobs if job.status_message_id is not None), None)


@dataclass(frozen=True, slots=True)
class ShownCard:
    """A card as it was last shown: of which job, in which channel, and when."""

    job_id: str
    channel_id: int
    card: StatusCard
    edited_at: datetime
