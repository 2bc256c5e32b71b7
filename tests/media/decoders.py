"""The processes that a decode client starts, as tests see and disturb them."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest

from bot.domain.errors import PictureRefused
from bot.media.decode_client import DecodeClient
from bot.media.picture_problems import UnusablePicture
from tests.media.rogue_decoder import HANGING_THREADS

PICTURES = Path(__file__).parents[1] / "pictures"
GOOD_PICTURE = (PICTURES / "moving.gif").read_bytes()
ROGUE_DECODER = "tests.media.rogue_decoder"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces it")


def decoders() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if any(part.endswith("decoder") for part in cmdline(child))]


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def hanging_decoder() -> psutil.Process:
    """Waits for a decoder that hangs."""
    return (await hanging_decoders(1))[0]


async def hanging_decoders(count: int) -> list[psutil.Process]:
    while len(hanging := [process for process in decoders() if threads(process) == HANGING_THREADS]) < count:
        await asyncio.sleep(0.01)
    return hanging


def threads(process: psutil.Process) -> int:
    try:
        return int(process.num_threads())
    except psutil.NoSuchProcess:
        return 0


async def cancel(preparing: asyncio.Future[Any]) -> None:
    preparing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await preparing


async def refusal(client: DecodeClient, data: bytes) -> UnusablePicture:
    with pytest.raises(PictureRefused) as refused:
        await client.prepare(data)
    assert isinstance(refused.value.reason, UnusablePicture)
    return refused.value.reason
