"""The most telling deaths, over SQLite; `make crash` has all of them, on both databases."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.crash.cases import at_point, at_random
from tests.crash.crash_points import Point, When
from tests.crash.databases import Houses, Kind, houses
from tests.crash.fault_points import FaultPoint

TELLING = (
    Point(FaultPoint.ACCEPT, When.AFTER),
    Point(FaultPoint.SUBMIT, When.TAKEN),
    Point(FaultPoint.TO_RUNNING, When.BEFORE),
    Point(FaultPoint.POST_VIDEO, When.TAKEN),
    Point(FaultPoint.TO_FAILED, When.AFTER),
)
SEED, KILLS = 20, 4


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Houses]:
    with houses(tmp_path_factory.mktemp("crash"), postgresql=False) as found:
        yield found


@pytest.mark.timeout(300)
async def test_a_death_at_a_telling_point_loses_nothing_and_doubles_nothing(built: Houses) -> None:
    results = await asyncio.gather(*(at_point(built, Kind.SQLITE, point) for point in TELLING))
    found = {str(point): result.problems for point, result in zip(TELLING, results, strict=True)}
    assert not {point: problems for point, problems in found.items() if problems}


@pytest.mark.timeout(300)
async def test_deaths_at_random_lose_nothing_and_double_nothing(built: Houses) -> None:
    result = await at_random(built, Kind.SQLITE, SEED, kills=KILLS, faults=False)
    assert result.problems == [], f"seed {SEED}\n{result.log}"
    assert result.deaths == KILLS
