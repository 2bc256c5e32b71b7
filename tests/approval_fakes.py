"""A stand-in for the moderators of a server, and for what is written down about their answers."""

from dataclasses import dataclass

from bot.domain.approvals import Decision
from bot.domain.jobs import Frame, Job
from tests.fakes import Faulty

LOG_CHANNEL = 700


@dataclass
class Question:
    """A question in the log channel. `answer`: how it was closed, with the job's state then."""

    id: int
    job_id: str
    channel_id: int
    frame: Frame
    closed: tuple[Job, Decision | None] | None = None


class FakeModerators(Faulty):
    """A log channel that keeps every question. It never merges what is asked twice: that is for the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: dict[int, Question] = {}

    def of(self, job: Job) -> list[Question]:
        return [one for one in self.questions.values() if one.job_id == job.id]

    async def ask(self, job: Job, frame: Frame, channel_id: int, *, look_first: bool) -> int:
        async with self._call("ask"):
            if look_first and (found := self.of(job)):
                return found[0].id
            message_id = 5000 + len(self.questions)
            self.questions[message_id] = Question(message_id, job.id, channel_id, frame)
        return message_id

    async def close(self, job: Job, decision: Decision | None, channel_id: int) -> None:
        async with self._call("close"):
            open_ones = [one for one in self.of(job) if one.closed is None]
            by_itself = open_ones[0] if job.approval_message_id is None and open_ones else None
            question = self.questions.get(job.approval_message_id or 0, by_itself)
            if question is not None and question.channel_id == channel_id:
                question.closed = (job, decision)


class FakeReviews(Faulty):
    """What is written down about moderators' answers."""

    def __init__(self, channel_id: int | None = LOG_CHANNEL) -> None:
        super().__init__()
        self.channel_id = channel_id
        self.decisions: dict[str, Decision] = {}

    async def channel_of(self, guild_id: int) -> int | None:  # noqa: ARG002 - the protocol's
        async with self._call("channel_of"):
            return self.channel_id

    async def decision_on(self, job: Job) -> Decision | None:
        async with self._call("decision_on"):
            return self.decisions.get(job.id)
