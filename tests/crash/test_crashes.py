"""The chosen crash points, over SQLite; `make crash` has all of them, on both databases."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from tests.crash.cases import kill_at_point, kill_at_random, record
from tests.crash.crash_points import (
    ONLY_IN_HALF,
    RARELY_HIT,
    CrashMoment,
    CrashPoint,
    crash_points_of_two_providers,
)
from tests.crash.databases import Databases, Deployment, open_databases
from tests.crash.fault_points import FaultPoint, FaultTiming
from tests.crash.scenario import HALVES

FEW_KINDS = ("plain", "refused", "approved")
CHOSEN_POINTS = (
    CrashPoint(FaultPoint.SUBMIT, CrashMoment.UNANSWERED_AFTER_EFFECT, kinds=FEW_KINDS),
    CrashPoint(FaultPoint.POST_VIDEO, CrashMoment.UNANSWERED_AFTER_EFFECT, kinds=FEW_KINDS),
)
SEED, KILLS = 20, 3


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    with open_databases(tmp_path_factory.mktemp("crash"), postgresql=False) as found:
        yield found


@pytest.mark.timeout(300)
async def test_a_crash_at_each_chosen_fault_point_loses_and_duplicates_nothing(databases: Databases) -> None:
    assert await losses(databases, CHOSEN_POINTS) == {}


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_a_crash_while_jobs_change_their_provider_loses_and_duplicates_nothing(databases: Databases) -> None:
    points = [point for point in crash_points_of_two_providers(Deployment.SQLITE) if point.at_second]
    assert await losses(databases, points) == {}


async def losses(databases: Databases, points: Sequence[CrashPoint]) -> dict[str, list[str]]:
    """What was wrong, by the point."""
    results = await asyncio.gather(*(kill_at_point(databases, Deployment.SQLITE, point) for point in points))
    return {str(point): result.problems for point, result in zip(points, results, strict=True) if result.problems}


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize("half", [0, 1])
async def test_every_fault_point_is_reached_as_often_as_the_campaign_needs(
    databases: Databases, half: int
) -> None:
    reached = await record(databases, Deployment.SQLITE, HALVES[half])
    needed = {
        (point, timing): 1 if point in RARELY_HIT else 2
        for point in FaultPoint
        for timing in FaultTiming
        if ONLY_IN_HALF.get(point, half) == half
    }
    missing = {key: times for key, times in needed.items() if reached[key] < times}
    assert not missing, {key: reached[key] for key in missing}


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_random_crashes_lose_and_duplicate_nothing(databases: Databases) -> None:
    result = await kill_at_random(databases, Deployment.SQLITE, SEED, kills=KILLS, faults=False, waves=1)
    assert result.problems == [], f"seed {SEED}\n{result.log}"
    assert result.kills == KILLS
