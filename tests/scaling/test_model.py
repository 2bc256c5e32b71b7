import pytest

from tests.scaling.model import Host, JobCosts, database_bytes, jobs_per_minute, waiting_s

COSTS = JobCosts(
    slot_overhead_s=2, cpu_s=0.09, poll_cpu_s=0.001, discord_requests=5, row_bytes=3000, picture_bytes=500_000
)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param(Host(2, 2, 58, 10), (2.0, "slots"), id="two tasks of a minute"),
        pytest.param(Host(1000, 2, 58, 10), (120.0, "submission rate"), id="two a second"),
        pytest.param(Host(10_000, 100, 58, 5), (480.0, "Discord"), id="forty requests a second"),
        pytest.param(Host(10_000, 100, 58, 110), (300.0, "processor"), id="many polls"),
        pytest.param(Host(10_000, 100, 58, 110, workers=3), (480.0, "Discord"), id="three cores"),
    ],
)
def test_the_smallest_limit_is_what_a_host_does(host: Host, expected: tuple[float, str]) -> None:
    per_minute, limit = jobs_per_minute(host, COSTS)
    assert (round(per_minute, 6), limit) == expected


def test_an_order_waits_for_those_before_it() -> None:
    assert waiting_s(Host(2, 2, 58, 10), COSTS, ahead=3) == pytest.approx(90)


def test_a_database_keeps_all_rows_and_the_pictures_of_some_days() -> None:
    month = database_bytes(COSTS, 10, days=30, pictures_kept_days=30)
    year = database_bytes(COSTS, 10, days=360, pictures_kept_days=30)
    assert month == pytest.approx(10 * 30 * 503_000)
    assert year - month == pytest.approx(10 * 330 * 3000)
