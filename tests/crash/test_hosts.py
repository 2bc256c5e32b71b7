"""A few pauses and outages on two hosts; `python -m tests.crash` can have one in every step and transaction."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.databases import Databases, open_databases
from tests.crash.fault_points import FaultPoint, FaultTiming
from tests.crash.host_cases import (
    HostPoint,
    Outage,
    lose_database_at_point,
    lose_database_at_random,
    outages,
    pause_at_point,
    pauses,
)

PAUSES = (
    HostPoint(FaultPoint.ACCEPT, FaultTiming.BEFORE),
    HostPoint(FaultPoint.SUBMIT, FaultTiming.BEFORE),
    HostPoint(FaultPoint.POST_VIDEO, FaultTiming.BEFORE),
    HostPoint(FaultPoint.POST_NOTIFICATION, FaultTiming.BEFORE),
)
OUTAGES = (
    HostPoint(FaultPoint.CLAIM_QUEUED, FaultTiming.BEFORE, Outage.ANSWER_LOST),
    HostPoint(FaultPoint.TO_RUNNING, FaultTiming.BEFORE, Outage.READ_ONLY),
    HostPoint(FaultPoint.TO_DELIVERED, FaultTiming.BEFORE, Outage.RESTART),
)
SEED = 20


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[Databases]:
    with open_databases(tmp_path, postgresql=True) as found:
        yield found


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_a_worker_that_is_paused_before_it_posts_posts_nothing_that_another_one_posted(
    databases: Databases,
) -> None:
    result = await pause_at_point(databases, HostPoint(FaultPoint.POST_VIDEO, FaultTiming.BEFORE))
    assert result.problems == [], result.log


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_a_pause_in_any_chosen_step_loses_and_duplicates_nothing(databases: Databases) -> None:
    results = await asyncio.gather(*(pause_at_point(databases, point) for point in PAUSES))
    assert [result.problems for result in results] == [[]] * len(PAUSES)


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_an_outage_in_any_chosen_transaction_loses_and_duplicates_nothing(databases: Databases) -> None:
    results = await asyncio.gather(*(lose_database_at_point(databases, point) for point in OUTAGES))
    assert [result.problems for result in results] == [[]] * len(OUTAGES)


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_connections_that_break_at_any_statement_lose_and_duplicate_nothing(databases: Databases) -> None:
    result = await lose_database_at_random(databases, SEED)
    assert result.problems == [], f"seed {SEED}\n{result.log}"
    assert result.kills > 0


def test_every_transaction_has_each_outage_and_every_step_two_pauses() -> None:
    assert {point.outage for point in outages()} == set(Outage)
    assert {point.place for point in pauses()} == set(FaultPoint) - {FaultPoint.RELEASE}
    assert len({str(point) for point in (*pauses(), *outages())}) == len([*pauses(), *outages()])
