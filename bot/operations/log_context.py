"""Which job the log lines of a task are about, so that one job's whole history can be found by its id."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_job_id: ContextVar[str | None] = ContextVar("job_id", default=None)

_NAMED = re.compile(r"\bjob ([\w-]{16})(?![\w-])")
"""How lines name a job; an id is 16 characters of URL-safe base64, see `bot.domain.jobs.new_job_id`."""


@contextmanager
def about_job(job_id: str | None) -> Iterator[None]:
    """Every line that is logged inside, by this task and those it starts, is about this job; None: about none."""
    token = _job_id.set(job_id)
    try:
        yield
    finally:
        _job_id.reset(token)


def job_of_line(message: str) -> str | None:
    """The job that a line is about which is being logged: what it names itself, or else what its task is about."""
    named = _NAMED.search(message)
    return _job_id.get() if named is None else named[1]
