"""The local gateway, asked by the real client and, where the client is too well-behaved, by a plain one."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import av
import pytest
from PIL import Image

from bot.demo.gateway import LocalGateway
from bot.domain.errors import OutcomeUnknown, UpstreamBusy, UpstreamClosed, UpstreamIll, UpstreamRefused
from bot.domain.jobs import Frame, Order, Resolution
from bot.providers.base import Task, TaskRef, TaskStatus
from bot.providers.vtrix.client import BodyForm, Timeouts, Vtrix
from tests.faulty_gateway import Ending, Fault, FaultyGateway, Route

KEY = "local-key-0123"
JOB_ID = "a-job_0123456789"
SOON_S = 30.0


def picture(width: int = 400, height: int = 400, mode: str = "RGB", form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height), "teal").save(file, form)
    return file.getvalue()


ORDER = Order(prompt="a fox wakes up", resolution=Resolution.P480, seed=7)
FRAME = Frame(data=picture(), mime="image/png")


def envelope(data: bytes = FRAME.data, mime: str = "image/png", **parameters: Any) -> dict[str, Any]:
    asked = {"prompt": "x", "img_url": f"data:{mime};base64,{base64.b64encode(data).decode()}"}
    return {"model": "wan22_i2v_flash", "input": [{"params": {"input": asked, "parameters": parameters}}]}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[FaultyGateway]:
    async with FaultyGateway(tmp_path / "videos", KEY) as running:
        yield running


@pytest.fixture
async def vtrix(gateway: FaultyGateway) -> AsyncIterator[Vtrix]:
    async with Vtrix(gateway.url, KEY) as client:
        yield client


@pytest.fixture
async def http(gateway: FaultyGateway) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(gateway.url, headers={"Authorization": f"Bearer {KEY}"}) as session:
        yield session


async def until_it_ends(vtrix: Vtrix, task_id: str) -> list[Task]:
    """All polls of a task, up to the one that says how it ended."""
    polls: list[Task] = []
    async with asyncio.timeout(SOON_S):
        while True:
            polls.append(await vtrix.status(TaskRef(task_id)))
            if polls[-1].status is not TaskStatus.IN_PROGRESS:
                return polls
            await asyncio.sleep(0.05)


def read(path: Path) -> bytes:
    return path.read_bytes()


async def refusal(http: aiohttp.ClientSession, body: object) -> str:
    data = io.BytesIO(json.dumps(body).encode())
    async with http.post("/model/v1/generation", data=data) as answer:
        assert answer.status == 400
        told = await answer.json()
        return str(told["error"]["message"])


@pytest.mark.parametrize("form", [BodyForm.AUTO, BodyForm.ENVELOPE, BodyForm.FLAT])
async def test_both_body_forms_create_a_task(gateway: FaultyGateway, form: BodyForm) -> None:
    async with Vtrix(gateway.url, KEY, body=form) as vtrix:
        task = await vtrix.submit(ORDER, FRAME, request_id=JOB_ID)
    made = gateway.tasks[task.id].create
    assert (made.prompt, made.resolution, made.seed) == ("a fox wakes up", Resolution.P480, 7)


async def test_a_create_is_recorded_as_received(gateway: FaultyGateway, vtrix: Vtrix) -> None:
    await vtrix.submit(ORDER, FRAME, request_id=JOB_ID)
    (received,) = gateway.received
    assert received.body["input"][0]["params"]["parameters"]["seed"] == 7
    assert "Authorization" in received.header_names


@pytest.mark.parametrize(("resolution", "cost"), [(Resolution.P480, "0.05"), (Resolution.P720, "0.10")])
async def test_a_finished_task_has_its_video_and_its_cost(
    vtrix: Vtrix, tmp_path: Path, resolution: Resolution, cost: str
) -> None:
    task = await vtrix.submit(Order(prompt="x", resolution=resolution), FRAME, request_id=JOB_ID)
    done = (await until_it_ends(vtrix, task.id))[-1]
    assert str(done.cost_usd) == cost
    assert done.video_url is not None
    size_bytes = await vtrix.download(done.video_url, tmp_path / "video.mp4")
    assert size_bytes == len(read(tmp_path / "video.mp4"))


async def test_a_task_takes_the_configured_time_with_growing_progress(
    gateway: FaultyGateway, vtrix: Vtrix
) -> None:
    gateway.task_seconds = 0.3
    task = await vtrix.submit(ORDER, FRAME, request_id=JOB_ID)
    polls = await until_it_ends(vtrix, task.id)
    progress = [poll.progress for poll in polls[:-1] if poll.progress is not None]
    assert len(progress) >= 2
    assert progress == sorted(set(progress))
    assert 0 <= progress[0] < progress[-1] < 1


async def test_a_wrong_key_is_refused(gateway: FaultyGateway) -> None:
    async with Vtrix(gateway.url, "another-key") as vtrix:
        with pytest.raises(UpstreamClosed):
            await vtrix.submit(ORDER, FRAME, request_id=JOB_ID)
        with pytest.raises(UpstreamClosed):
            await vtrix.check()
    assert gateway.tasks == {}


async def test_a_good_key_passes_the_check(vtrix: Vtrix) -> None:
    await vtrix.check()


async def test_an_unknown_task_is_refused(vtrix: Vtrix) -> None:
    with pytest.raises(UpstreamRefused, match="no such task"):
        await vtrix.status(TaskRef("t-1"))


@pytest.mark.parametrize(
    ("data", "mime", "says"),
    [
        (picture(mode="RGBA"), "image/png", "alpha"),
        (picture(359, 400), "image/png", "359×400"),
        (picture(400, 2001), "image/png", "400×2001"),
        (picture(form="GIF"), "image/gif", "JPEG, PNG, BMP or WEBP"),
        (picture(), "image/jpeg", "declared as image/jpeg"),
        (picture()[:200], "image/png", "can't be read"),
        (b"x" * 10_000_001, "image/png", "10 MB"),
        (b"hello", "text/plain", "data URI"),
    ],
    ids=["alpha", "small", "large", "gif", "declared wrongly", "truncated", "too many bytes", "no picture"],
)
async def test_a_picture_outside_of_the_limits_is_refused(
    http: aiohttp.ClientSession, data: bytes, mime: str, says: str
) -> None:
    assert says in await refusal(http, envelope(data, mime))


async def test_a_picture_in_broken_base64_is_refused(http: aiohttp.ClientSession) -> None:
    body = envelope()
    body["input"][0]["params"]["input"]["img_url"] += "!!"
    assert "base64" in await refusal(http, body)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "WEBP"])
async def test_every_allowed_format_is_accepted(gateway: FaultyGateway, vtrix: Vtrix, form: str) -> None:
    await vtrix.submit(ORDER, Frame(data=picture(form=form), mime=f"image/{form.lower()}"), request_id=JOB_ID)
    assert len(gateway.tasks) == 1


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"resolution": "1080P"}, "resolution"),
        ({"duration": 10}, "duration"),
        ({"seed": 2**31}, "seed"),
        ({"seed": -1}, "seed"),
        ({"seed": "7"}, "seed"),
        ({"watermark": "no"}, "watermark"),
    ],
)
async def test_a_parameter_outside_of_the_limits_is_refused(
    http: aiohttp.ClientSession, parameters: dict[str, Any], says: str
) -> None:
    assert says in await refusal(http, envelope(**parameters))


@pytest.mark.parametrize("body", [None, [], {}, {"model": "other"}, {"model": "wan22_i2v_flash", "input": []}])
async def test_a_body_in_an_unknown_form_is_refused(http: aiohttp.ClientSession, body: object) -> None:
    assert await refusal(http, body)


async def test_a_range_of_a_video_can_be_requested(
    gateway: FaultyGateway, vtrix: Vtrix, http: aiohttp.ClientSession
) -> None:
    task = await vtrix.submit(ORDER, FRAME, request_id=JOB_ID)
    url = (await until_it_ends(vtrix, task.id))[-1].video_url
    assert url is not None
    async with http.get(url.removeprefix(gateway.url), headers={"Range": "bytes=4-7"}) as answer:
        assert (answer.status, answer.content_type, await answer.read()) == (206, "video/mp4", b"ftyp")


async def test_a_file_that_is_not_a_result_is_not_served(
    gateway: FaultyGateway, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    (tmp_path / "videos" / "secret.mp4").write_bytes(b"x")
    for name in ("secret.mp4", "..%2Fsecret", "same.mp4"):
        async with http.get(f"/results/{name}") as answer:
            assert answer.status == 404
    assert gateway.tasks == {}


async def test_a_fault_applies_once(gateway: FaultyGateway, vtrix: Vtrix) -> None:
    gateway.fault(Route.CREATE, Fault(status=429, headers={"Retry-After": "5"}))
    with pytest.raises(UpstreamBusy) as busy:
        await vtrix.submit(ORDER, FRAME, request_id=JOB_ID)
    assert busy.value.retry_after_s == 5.0
    await vtrix.submit(ORDER, FRAME, request_id=JOB_ID)
    assert (len(gateway.received), len(gateway.tasks)) == (2, 1)


@pytest.mark.parametrize(("takes_effect", "tasks"), [(False, 0), (True, 1)], ids=["before", "after"])
async def test_a_create_can_be_reset_before_or_after_it_took_effect(
    gateway: FaultyGateway, vtrix: Vtrix, *, takes_effect: bool, tasks: int
) -> None:
    gateway.fault(Route.CREATE, Fault(ending=Ending.RESET, takes_effect=takes_effect))
    with pytest.raises(OutcomeUnknown):
        await vtrix.submit(ORDER, FRAME, request_id=JOB_ID)
    assert (len(gateway.received), len(gateway.tasks)) == (1, tasks)


async def test_a_poll_can_hang(gateway: FaultyGateway) -> None:
    gateway.fault(Route.POLL, Fault(ending=Ending.HANG))
    async with Vtrix(gateway.url, KEY, timeouts=Timeouts(connect_s=0.5, poll_s=0.1)) as vtrix:
        with pytest.raises(UpstreamIll):
            await vtrix.status(TaskRef("t-1"))


async def test_polls_can_be_scripted(gateway: FaultyGateway, vtrix: Vtrix) -> None:
    gateway.fault(Route.POLL, Fault(status=503), times=2)
    gateway.fault(Route.POLL, Fault(body={"id": "t-1", "status": "failed", "error": "Too dark"}))
    for _ in range(2):
        with pytest.raises(UpstreamIll):
            await vtrix.status(TaskRef("t-1"))
    assert (await vtrix.status(TaskRef("t-1"))).error_message == "Too dark"


async def test_a_delay_alone_does_not_change_the_response(gateway: FaultyGateway, vtrix: Vtrix) -> None:
    gateway.fault(Route.CREATE, Fault(delay_s=0.01))
    task = await vtrix.submit(ORDER, FRAME, request_id=JOB_ID)
    assert task.id in gateway.tasks


async def test_a_result_can_be_cut_off(gateway: FaultyGateway, vtrix: Vtrix, tmp_path: Path) -> None:
    task = await vtrix.submit(ORDER, FRAME, request_id=JOB_ID)
    url = (await until_it_ends(vtrix, task.id))[-1].video_url
    assert url is not None
    gateway.fault(Route.RESULT, Fault(ending=Ending.HALF))
    with pytest.raises(UpstreamIll):
        await vtrix.download(url, tmp_path / "video.mp4")
    assert await vtrix.download(url, tmp_path / "video.mp4") > 0


async def test_a_picture_is_rendered_to_a_real_video(tmp_path: Path) -> None:
    async with LocalGateway(tmp_path / "videos", KEY) as gateway, Vtrix(gateway.url, KEY) as vtrix:
        task = await vtrix.submit(
            ORDER, Frame(data=picture(640, 360, form="JPEG"), mime="image/jpeg"), request_id=JOB_ID
        )
        url = (await until_it_ends(vtrix, task.id))[-1].video_url
        assert url is not None
        await vtrix.download(url, tmp_path / "video.mp4")
    with av.open(str(tmp_path / "video.mp4")) as container:
        video = container.streams.video[0]
        assert (video.width, video.height, video.frames) == (842, 474, 150)
