"""Our client next to DashScope's own SDK: both send the same to one local gateway and read the same from it."""

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from bot.domain.errors import ContentRefused, OutcomeUnknown, UpstreamError, UpstreamRefused
from bot.domain.jobs import Frame, Order, Resolution, StopResult
from bot.providers.base import Task, TaskRef, TaskStatus
from bot.providers.dashscope.client import DashScope
from tests.dashscope_gateway import (
    ARREARS,
    FORBIDDEN_CONTENT,
    THROTTLED,
    DashScopeGateway,
    Route,
    error_body,
)
from tests.faulty_gateway import Ending, Fault
from tests.providers.dashscope.conftest import KEY

VERSION = "2.0.2"


@dataclass(frozen=True)
class Sdk:
    """The SDK's process."""

    process: "subprocess.Popen[str]"

    async def call(self, gateway: DashScopeGateway, method: str, *, key: str = KEY, **arguments: Any) -> Any:
        """What a method of `VideoSynthesis` returned."""
        line = json.dumps({"method": method, "url": gateway.url, "key": key, "arguments": arguments})
        return json.loads(await asyncio.to_thread(self._exchange, line))

    def _exchange(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    """Without this user's files and settings: the SDK reads keys and addresses from there."""
    home = str(tmp_path_factory.mktemp("home"))
    command = [sys.executable, str(Path(__file__).with_name("sdk_process.py"))]
    environment = {"HOME": home, "PATH": os.environ["PATH"]}
    with subprocess.Popen(  # noqa: S603
        command, env=environment, cwd=home, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield Sdk(process)
        assert process.stdin is not None
        process.stdin.close()


def arguments_of(order: Order, frame: Frame) -> dict[str, Any]:
    """The order as the SDK's `async_call` takes it."""
    given = {
        "model": "wan2.2-i2v-flash",
        "prompt": order.prompt,
        "negative_prompt": order.negative_prompt,
        "img_url": f"data:{frame.mime};base64,{base64.b64encode(frame.data).decode()}",
        "resolution": order.resolution.value,
        "seed": order.seed,
        "prompt_extend": order.prompt_extend,
        "watermark": order.watermark,
    }
    return {name: value for name, value in given.items() if value is not None}


async def created_by_sdk(sdk: Sdk, gateway: DashScopeGateway, order: Order, frame: Frame) -> str:
    response = await sdk.call(gateway, "async_call", **arguments_of(order, frame))
    task_id: str = response["output"]["task_id"]
    return task_id


def test_the_version_is_the_one_that_our_texts_name() -> None:
    assert version("dashscope") == VERSION


@pytest.mark.parametrize(
    "order",
    [
        Order(prompt="a fox wakes up"),
        Order("狐狸", "blur", Resolution.P480, seed=7, prompt_extend=False, watermark=True),
    ],
    ids=["the least", "everything"],
)
async def test_both_send_the_same_order(
    sdk: Sdk, gateway: DashScopeGateway, dashscope: DashScope, order: Order, frame: Frame
) -> None:
    task_id = await created_by_sdk(sdk, gateway, order, frame)
    ours = await dashscope.submit(order, frame, request_id="job-1")
    assert list(gateway.tasks) == [task_id, ours.id]
    theirs, sent = gateway.received
    own = {name: theirs["input"].pop(name) for name in ("extend_prompt", "function")}
    assert own == {"extend_prompt": True, "function": "video-synthesis"}, "of older models"
    assert sent == theirs


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("PENDING", TaskStatus.IN_PROGRESS),
        ("RUNNING", TaskStatus.IN_PROGRESS),
        ("SUSPENDED", TaskStatus.IN_PROGRESS),
        ("SUCCEEDED", TaskStatus.COMPLETED),
        ("FAILED", TaskStatus.FAILED),
        ("CANCELED", TaskStatus.CANCELLED),
        ("UNKNOWN", TaskStatus.GONE),
    ],
)
async def test_both_read_the_same_of_a_task(
    sdk: Sdk,
    gateway: DashScopeGateway,
    dashscope: DashScope,
    order: Order,
    frame: Frame,
    word: str,
    status: TaskStatus,
) -> None:
    gateway.statuses = ()
    task_id = await created_by_sdk(sdk, gateway, order, frame)
    gateway.tasks[task_id].status = word
    theirs = await sdk.call(gateway, "fetch", task=task_id)
    ours = await dashscope.status(TaskRef(task_id))

    assert (theirs["status_code"], theirs["output"]["task_status"], ours.status) == (200, word, status)
    assert seen_by_us(ours) == seen_by_the_sdk(theirs)


def seen_by_us(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "url": task.video_url,
        "code": task.error_code,
        "message": task.error_message,
        "usage": task.raw().get("usage"),
    }


def seen_by_the_sdk(response: Any) -> dict[str, Any]:
    output, usage = response["output"], response["usage"]
    if usage is not None:
        usage.pop("video_ratio", None)  # of other models; the SDK fills in an empty one
    return {
        "id": output["task_id"],
        "url": output.get("video_url") or None,
        "code": output.get("code"),
        "message": output.get("message"),
        "usage": usage,
    }


@pytest.mark.parametrize(
    ("word", "answer", "result"),
    [
        ("PENDING", (200, ""), StopResult.STOPPED),
        ("RUNNING", (400, "UnsupportedOperation"), StopResult.RUNNING),
        ("SUCCEEDED", (400, "UnsupportedOperation"), StopResult.ENDED),
    ],
)
async def test_both_can_stop_the_same_tasks(
    sdk: Sdk,
    gateway: DashScopeGateway,
    dashscope: DashScope,
    order: Order,
    frame: Frame,
    word: str,
    answer: tuple[int, str],
    result: StopResult,
) -> None:
    gateway.statuses = ()
    ids = [await created_by_sdk(sdk, gateway, order, frame) for _ in range(2)]
    for task_id in ids:
        gateway.tasks[task_id].status = word
    theirs = await sdk.call(gateway, "cancel", task=ids[0])
    assert (theirs["status_code"], theirs["code"] or "") == answer
    assert await dashscope.stop(TaskRef(ids[1])) is result
    assert gateway.tasks[ids[0]].status == gateway.tasks[ids[1]].status


@pytest.mark.parametrize(
    "fault",
    [
        Fault(400, error_body("InvalidParameter", "The size is wrong.")),
        FORBIDDEN_CONTENT,
        ARREARS,
        Fault(403, error_body("AccessDenied.Unpurchased", "Access to the model is denied.")),
        THROTTLED,
    ],
    ids=lambda fault: str(fault.body["code"]),
)
async def test_both_read_the_same_of_a_refusal(
    sdk: Sdk, gateway: DashScopeGateway, dashscope: DashScope, order: Order, frame: Frame, fault: Fault
) -> None:
    gateway.fault(Route.CREATE, fault, times=2)
    theirs = await sdk.call(gateway, "async_call", **arguments_of(order, frame))
    with pytest.raises(UpstreamError) as ours:
        await dashscope.submit(order, frame, request_id="job-1")

    assert (theirs["status_code"], theirs["code"]) == (fault.status, fault.body["code"])
    assert theirs["message"] == fault.body["message"]
    assert theirs["message"] in str(ours.value)
    if isinstance(ours.value, UpstreamRefused):
        assert ours.value.code == theirs["code"]
    assert isinstance(ours.value, ContentRefused) == (fault is FORBIDDEN_CONTENT)
    assert gateway.tasks == {}


async def test_the_gateway_refuses_both_without_a_good_key(sdk: Sdk, gateway: DashScopeGateway) -> None:
    theirs = await sdk.call(gateway, "fetch", key="sk-another-key", task="a-task")
    assert (theirs["status_code"], theirs["code"]) == (401, "InvalidApiKey")


async def test_the_sdk_pays_twice_for_a_lost_answer_and_we_never_do(
    sdk: Sdk, gateway: DashScopeGateway, dashscope: DashScope, order: Order, frame: Frame
) -> None:
    lost = Fault(ending=Ending.RESET, takes_effect=True)
    gateway.fault(Route.CREATE, lost)
    await created_by_sdk(sdk, gateway, order, frame)
    assert len(gateway.billed) == 2

    gateway.fault(Route.CREATE, lost)
    with pytest.raises(OutcomeUnknown):
        await dashscope.submit(order, frame, request_id="job-1")
    assert len(gateway.billed) == 3


async def test_the_sdks_process_reaches_this_machine_only(sdk: Sdk) -> None:
    elsewhere = DashScopeGateway(KEY)
    elsewhere.url = "http://192.0.2.1/api/v1"
    refused = await sdk.call(elsewhere, "fetch", task="a-task")
    assert "the SDK tried to reach 192.0.2.1" in refused["text"]
