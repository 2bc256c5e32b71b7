from decimal import Decimal
from typing import Any

import pytest

from bot.domain.errors import UserError
from bot.services.admin.limits import EVERYTHING, TIER_PARTS, LimitPart, Wanted


@pytest.mark.parametrize(
    ("wanted", "values"),
    [
        (Wanted(), {}),
        (Wanted(videos=0), {LimitPart.VIDEOS: 0}),
        (Wanted(videos=10_000, running=100), {LimitPart.VIDEOS: 10_000, LimitPart.RUNNING: 100}),
        (Wanted(pause="90"), {LimitPart.PAUSE: 90}),
        (Wanted(pause="0"), {LimitPart.PAUSE: 0}),
        (Wanted(pause="10m"), {LimitPart.PAUSE: 600}),
        (Wanted(pause="30d"), {LimitPart.PAUSE: 2_592_000}),
        (Wanted(window="24"), {LimitPart.WINDOW: 24}),
        (Wanted(window="30d"), {LimitPart.WINDOW: 720}),
        (Wanted(window="60m"), {LimitPart.WINDOW: 1}),
        (Wanted(usd_per_day="$2.50"), {LimitPart.USD_PER_DAY: Decimal("2.50")}),
        (Wanted(usd_per_month="0"), {LimitPart.USD_PER_MONTH: Decimal(0)}),
        (Wanted(exempt_admins=False), {LimitPart.EXEMPT_ADMINS: False}),
        (Wanted(clear="videos"), {LimitPart.VIDEOS: None}),
        (Wanted(clear=EVERYTHING), dict.fromkeys(LimitPart)),
        (Wanted(clear="videos", videos=3), {LimitPart.VIDEOS: 3}),
    ],
)
def test_what_an_admin_wrote_is_read(wanted: Wanted, values: dict[LimitPart, Any]) -> None:
    assert wanted.values(tuple(LimitPart)) == values


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(videos=-1),
        Wanted(videos=10_001),
        Wanted(running=101),
        Wanted(videos_per_day=100_001),
        Wanted(pause="30d 1s"),
        Wanted(window="0"),
        Wanted(window="721h"),
        Wanted(window="61m"),
        Wanted(usd_per_day="-1"),
        Wanted(usd_per_day="1e3"),
        Wanted(usd_per_month="NaN"),
    ],
)
def test_what_is_out_of_bounds_is_refused(wanted: Wanted) -> None:
    with pytest.raises(UserError):
        wanted.values(tuple(LimitPart))


def test_a_role_knows_only_limits_of_members() -> None:
    wanted = Wanted(videos=1, window="24h", usd_per_day="3", clear=EVERYTHING)

    assert wanted.values(TIER_PARTS) == {LimitPart.VIDEOS: 1, LimitPart.RUNNING: None, LimitPart.PAUSE: None}
