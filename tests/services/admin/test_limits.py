from decimal import Decimal
from typing import Any

import pytest

from bot.domain.errors import UserError
from bot.services.admin.limits import EVERYTHING, OVERRIDE_PARTS, LimitChanges, LimitPart


@pytest.mark.parametrize(
    ("changes", "values"),
    [
        (LimitChanges(), {}),
        (LimitChanges(videos=0), {LimitPart.VIDEOS: 0}),
        (LimitChanges(videos=10_000, running=100), {LimitPart.VIDEOS: 10_000, LimitPart.RUNNING: 100}),
        (LimitChanges(pause="90"), {LimitPart.PAUSE: 90}),
        (LimitChanges(pause="0"), {LimitPart.PAUSE: 0}),
        (LimitChanges(pause="10m"), {LimitPart.PAUSE: 600}),
        (LimitChanges(pause="30d"), {LimitPart.PAUSE: 2_592_000}),
        (LimitChanges(window="24"), {LimitPart.WINDOW: 24}),
        (LimitChanges(window="30d"), {LimitPart.WINDOW: 720}),
        (LimitChanges(window="60m"), {LimitPart.WINDOW: 1}),
        (LimitChanges(usd_per_day="$2.50"), {LimitPart.USD_PER_DAY: Decimal("2.50")}),
        (LimitChanges(usd_per_month="0"), {LimitPart.USD_PER_MONTH: Decimal(0)}),
        (LimitChanges(exempt_admins=False), {LimitPart.EXEMPT_ADMINS: False}),
        (LimitChanges(clear="videos"), {LimitPart.VIDEOS: None}),
        (LimitChanges(clear=EVERYTHING), dict.fromkeys(LimitPart)),
        (LimitChanges(clear="videos", videos=3), {LimitPart.VIDEOS: 3}),
    ],
)
def test_changes_are_parsed_to_values(changes: LimitChanges, values: dict[LimitPart, Any]) -> None:
    assert changes.values(tuple(LimitPart)) == values


@pytest.mark.parametrize(
    "changes",
    [
        LimitChanges(videos=-1),
        LimitChanges(videos=10_001),
        LimitChanges(running=101),
        LimitChanges(videos_per_day=100_001),
        LimitChanges(pause="30d 1s"),
        LimitChanges(window="0"),
        LimitChanges(window="721h"),
        LimitChanges(window="61m"),
        LimitChanges(usd_per_day="-1"),
        LimitChanges(usd_per_day="1e3"),
        LimitChanges(usd_per_month="NaN"),
    ],
)
def test_values_out_of_bounds_are_refused(changes: LimitChanges) -> None:
    with pytest.raises(UserError):
        changes.values(tuple(LimitPart))


def test_a_role_has_only_member_limits() -> None:
    changes = LimitChanges(videos=1, window="24h", usd_per_day="3", clear=EVERYTHING)

    assert changes.values(OVERRIDE_PARTS) == {LimitPart.VIDEOS: 1, LimitPart.RUNNING: None, LimitPart.PAUSE: None}
