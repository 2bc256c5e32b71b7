"""What the gateways' clients report of their requests, over real HTTP."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.domain import errors
from bot.domain.errors import UpstreamError
from bot.domain.jobs import Frame, Order
from bot.providers.base import TaskRef
from bot.providers.dashscope.client import DashScope
from bot.providers.request_times import BROKEN_OFF, OUTCOMES, timed
from bot.providers.ssrf_guard import Network
from bot.providers.vtrix.client import BodyForm, Vtrix
from tests.providers.conftest import JOB_ID, KEY
from tests.providers.servers import MP4, ScriptedServer

Reports = list[tuple[str, str]]
NETWORK = Network(is_public=lambda _: True)


@pytest.fixture
def reports() -> Reports:
    return []


@pytest.fixture
def observe(reports: Reports) -> Callable[[str, str, float], None]:
    def report(operation: str, outcome: str, duration_s: float) -> None:
        assert duration_s >= 0
        reports.append((operation, outcome))

    return report


@pytest.mark.parametrize(("status", "outcome"), [(404, "refused"), (401, "closed"), (429, "busy"), (503, "ill")])
async def test_a_poll_is_reported_with_what_its_answer_means(
    server: ScriptedServer, observe: Any, reports: Reports, status: int, outcome: str
) -> None:
    async with Vtrix(server.url, KEY, observe=observe) as client:
        server.answers({"id": "t-1", "status": "in_progress"})
        await client.status(TaskRef("t-1"))
        server.answers({"error": {"message": "no"}}, status)
        with pytest.raises(UpstreamError):
            await client.status(TaskRef("t-1"))
    assert reports[0] == ("poll", "ok")
    assert set(reports[1:]) == {("poll", outcome)}


async def test_creates_and_downloads_are_reported_as_such(
    server: ScriptedServer, observe: Any, reports: Reports, order: Order, frame: Frame, to: Path
) -> None:
    async with Vtrix(server.url, KEY, body=BodyForm.ENVELOPE, network=NETWORK, observe=observe) as client:
        server.answers({"id": "t-1", "status": "queued"})
        await client.submit(order, frame, request_id=JOB_ID)
        server.answers({"error": {"message": "slow down"}}, 429)
        with pytest.raises(errors.UpstreamBusy):
            await client.submit(order, frame, request_id=JOB_ID)
        server.answers(MP4)
        await client.download(f"{server.url}/video.mp4", to)
        server.answers(b"", 404)
        with pytest.raises(errors.ResultRefused):
            await client.download(f"{server.url}/video.mp4", to)
    assert reports == [("create", "ok"), ("create", "busy"), ("download", "ok"), ("download", "refused")]


async def test_a_gateway_that_is_not_there_is_reported(observe: Any, reports: Reports) -> None:
    async with DashScope("http://127.0.0.1:9", KEY, observe=observe) as client:
        with pytest.raises(errors.UpstreamUnreached):
            await client.status(TaskRef("t-1"))
    assert reports == [("poll", "unreached")]


def test_a_request_that_is_broken_off_is_reported(observe: Any, reports: Reports) -> None:
    with pytest.raises(KeyboardInterrupt), timed(observe, "create"):
        raise KeyboardInterrupt
    assert reports == [("create", BROKEN_OFF)]


def test_every_error_of_a_provider_has_an_outcome() -> None:
    raised = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, UpstreamError)}
    assert raised - {UpstreamError} == set(OUTCOMES)
