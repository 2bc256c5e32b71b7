"""A client, a server on loopback and an order for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.domain.jobs import Frame, Order
from bot.providers.vtrix.client import Timeouts, Vtrix
from tests.providers.servers import ScriptedServer, scripted_server

KEY = "vtx-0123456789-secret"
JOB_ID = "a-job_0123456789"
SHORT_TIMEOUTS = Timeouts(connect_s=0.7, submit_s=0.2, poll_s=0.2, stall_s=0.3)
"""For tests in which something has to take too long; all others use the default timeouts."""


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests ignore the proxy settings of the machine that runs them."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as running:
        yield running


@pytest.fixture
async def vtrix(server: ScriptedServer) -> AsyncIterator[Vtrix]:
    async with Vtrix(server.url, KEY) as client:
        yield client


@pytest.fixture
def order() -> Order:
    return Order(prompt="a fox wakes up")


@pytest.fixture
def frame() -> Frame:
    return Frame(data=b"\xff\xd8 a picture", mime="image/jpeg")


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """Where a download goes."""
    return tmp_path / "video.mp4"


def content(path: Path) -> bytes | None:
    """What the file holds; None if there is none."""
    return path.read_bytes() if path.exists() else None
