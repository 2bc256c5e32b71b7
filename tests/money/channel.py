"""Discord as the worker sees it here: posts that take effect or don't, lost answers, channels that are gone."""

import random
from collections import Counter
from datetime import datetime
from pathlib import Path

from bot.domain.errors import DeliveryDelayed, DeliveryForbidden, Undeliverable
from bot.domain.extensions import Clip
from bot.domain.jobs import Job
from bot.worker.stages.context import DirectMessage
from bot.worker.status_cards import StatusCards

DIRECT_CHANNEL = 800


class QuietCards(StatusCards):
    """Status cards that nobody sees."""

    def __init__(self) -> None:
        pass

    async def post(self, job: Job, *, check_existing: bool) -> int:
        del job, check_existing
        return 1

    async def remove(self, job: Job) -> None:
        del job

    async def close(self, job: Job) -> None:
        del job


class Channel:
    """A messenger. videos: by job, the message with its video. faults: how often each was met."""

    def __init__(self, seed: int) -> None:
        self.videos: dict[str, int] = {}
        self.sent: dict[str, int] = {}
        self.faults: Counter[str] = Counter()
        self.is_healthy = False
        self._seed = seed
        self._tries: Counter[str] = Counter()
        self._next_id = 1000

    async def notify_failure(self, job: Job, *, check_existing: bool) -> None:
        del check_existing
        self._delay("notify", job)

    async def post_video(self, job: Job, video: Path, clip: Clip | None = None, *, pings: bool = True) -> int:
        del video, clip, pings
        fate = self._rng("channel", job).random()
        if fate < 0.02:
            self._note("channel gone")
            raise Undeliverable("Unknown Channel")
        if fate < 0.03:
            self._note("permission missing")
            raise DeliveryForbidden("Missing Permissions")
        return self._posted("post", job, self.videos)

    async def find_video(self, job: Job) -> int | None:
        return self.videos.get(job.id)

    async def remove_video(self, job: Job) -> None:
        self.videos.pop(job.id, None)

    async def upload_limit_bytes(self, job: Job) -> int:
        del job
        return 10_000_000

    async def send_video(self, job: Job, video: Path, clip: Clip | None = None) -> DirectMessage:
        del video, clip
        if self._rng("direct", job).random() < 0.5:
            self._note("member takes no messages")
            raise Undeliverable("Cannot send messages to this user")
        return DirectMessage(DIRECT_CHANNEL, self._posted("send", job, self.sent))

    async def send_link(self, job: Job, expires_at: datetime) -> DirectMessage:
        del expires_at
        return DirectMessage(DIRECT_CHANNEL, self._posted("link", job, self.sent))

    async def find_sent_video(self, job: Job) -> DirectMessage | None:
        found = self.sent.get(job.id)
        return None if found is None else DirectMessage(DIRECT_CHANNEL, found)

    async def send_failure(self, job: Job, *, check_existing: bool) -> None:
        del check_existing
        self._delay("send failure", job)

    async def answer_order(self, job: Job) -> bool:
        del job
        return False

    def _posted(self, call: str, job: Job, where: dict[str, int]) -> int:
        """Posts, unless Discord is slow; some answers are lost."""
        self._delay(call, job)
        self._next_id += 1
        where[job.id] = self._next_id
        self._delay(f"{call}, answered", job)
        return self._next_id

    def _delay(self, call: str, job: Job) -> None:
        self._tries[job.id] += 1
        if not self.is_healthy and self._rng(call, job, self._tries[job.id]).random() < 0.03:
            self._note(f"{call}: delayed")
            raise DeliveryDelayed("Discord is slow")

    def _note(self, fault: str) -> None:
        self.faults[fault] += 1

    def _rng(self, what: str, job: Job, number: int = 0) -> random.Random:
        return random.Random(f"{self._seed} {what} {job.id} {number}")  # noqa: S311 - repeatable
