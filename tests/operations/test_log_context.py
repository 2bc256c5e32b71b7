import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from bot.domain.jobs import new_job_id
from bot.operations import logs
from bot.operations.log_context import about_job, job_of_line
from tests.isolation import isolated_logging

JOB, OTHER = "AbCdEfGhIjKlMnO-", "0123456789abcde_"
log = logging.getLogger("x")


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    with isolated_logging():
        yield


def lines(log_format: str, *, of: list[tuple[str | None, str]]) -> list[str]:
    """What is written of these messages, each with the job that its task is about."""
    stream = io.StringIO()
    logs.set_up("DEBUG", log_format=log_format, stream=stream)
    for job_id, message in of:
        with about_job(job_id):
            log.info(message)
    return stream.getvalue().splitlines()


def test_a_line_of_json_has_the_job_of_its_task_or_the_one_that_it_names() -> None:
    found = lines("json", of=[(JOB, "retrying"), (None, f"job {OTHER}: done"), (JOB, f"job {OTHER}: done")])
    assert [json.loads(line)["job"] for line in found] == [JOB, OTHER, OTHER]


def test_a_line_about_no_job_has_none() -> None:
    (line,) = lines("json", of=[(None, "job queue is empty")])
    assert "job" not in json.loads(line)


def test_a_line_of_text_names_its_job_once() -> None:
    found = lines("text", of=[(JOB, "retrying"), (JOB, f"job {JOB}: done"), (None, "ready")])
    assert [line.partition("x: ")[2] for line in found] == [f"retrying [job {JOB}]", f"job {JOB}: done", "ready"]


def test_a_line_of_text_names_its_job_before_the_traceback() -> None:
    stream = io.StringIO()
    logs.set_up("DEBUG", stream=stream)
    with about_job(JOB):
        try:
            int("x")
        except ValueError:
            log.exception("it broke")
    assert stream.getvalue().splitlines()[0].endswith(f"it broke [job {JOB}]")


async def test_tasks_that_a_stage_starts_are_about_its_job_and_nothing_after_it_is() -> None:
    async def started() -> str | None:
        return job_of_line("on my way")

    with about_job(JOB):
        task = asyncio.create_task(started())
    assert await task == JOB
    assert job_of_line("on my way") is None


def test_every_id_is_found_in_a_line_that_names_it() -> None:
    assert all(job_of_line(f"job {job_id}: done") == job_id for job_id in (new_job_id() for _ in range(200)))
