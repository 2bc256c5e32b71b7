"""Jobs with the longest ids and prompts, for the tests of texts."""

from dataclasses import replace
from datetime import UTC, datetime

from bot.domain.jobs import Job, JobState, Order

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LARGEST = 2**63 - 1
"""Discord's ids have 63 bits: the longest that a mention and a link can get."""
JOB = Job("abcdefgh-ijklmn_", JobState.QUEUED, LARGEST, LARGEST, LARGEST, Order("a fox runs"), NOW, NOW)
MENTION = f"<@{LARGEST}>"


def job(state: JobState = JobState.QUEUED, *, prompt: str = "a fox runs", **changes: object) -> Job:
    return replace(JOB, state=state, order=replace(JOB.order, prompt=prompt), **changes)  # type: ignore[arg-type]


LONG_PROMPTS = ["*" * 800, "🦊" * 800, "\\" * 800, "狐" * 800, "a" * 800, "> " * 400, "👨\u200d👩\u200d👧" * 160]
