"""Whether the current task's work may be another process's by now."""

import asyncio
from datetime import timedelta

import pytest

from bot.operations.held_lease import HeldLease, is_overtaken, work_under, working_under

MINUTE = timedelta(minutes=1)


class Uptime:
    """A steady clock that moves by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def uptime() -> Uptime:
    return Uptime()


def test_without_a_lease_nothing_is_overtaken() -> None:
    assert not is_overtaken()


def test_work_is_overtaken_once_its_lease_is_over(uptime: Uptime) -> None:
    with working_under(HeldLease(uptime(), MINUTE, uptime)):
        uptime.now_s += 59
        assert not is_overtaken()
        uptime.now_s += 1
        assert is_overtaken()
    assert not is_overtaken()


def test_a_renewed_lease_lasts_from_when_its_renewal_was_asked_for(uptime: Uptime) -> None:
    lease = HeldLease(uptime(), MINUTE, uptime)
    asked_s = uptime() + 40
    uptime.now_s += 50  # the answer took ten seconds
    lease.renew(asked_s)
    uptime.now_s += 49
    assert not lease.is_over
    uptime.now_s += 1
    assert lease.is_over


async def test_a_task_keeps_the_lease_under_which_it_was_made(uptime: Uptime) -> None:
    async def asked_later() -> bool:
        await asyncio.sleep(0)
        return is_overtaken()

    with working_under(HeldLease(uptime(), MINUTE, uptime)):
        task = asyncio.create_task(asked_later())
    uptime.now_s += 60
    assert await task
    assert not is_overtaken()


async def test_the_rest_of_a_task_works_under_a_lease_and_no_other_task_does(uptime: Uptime) -> None:
    async def rest() -> bool:
        work_under(HeldLease(uptime(), MINUTE, uptime))
        uptime.now_s += 60
        return is_overtaken()

    assert await asyncio.create_task(rest())
    assert not is_overtaken()
