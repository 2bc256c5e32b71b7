"""A short campaign with a fixed seed, and the audit itself; `make hosts` is the long one."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bot.domain.jobs import Job, JobState, Order
from bot.domain.ledger import Amounts
from tests.crash.bot_process import start_server
from tests.hosts.__main__ import campaign
from tests.hosts.books import _expected, _names

MINUTES, SEED = 1.0, 14


@pytest.mark.full
@pytest.mark.timeout(1500)
async def test_several_hosts_lose_and_duplicate_nothing() -> None:
    start_server()
    findings = await campaign(MINUTES, SEED)
    assert findings.problems == []
    assert findings.ends["delivered"] > 0


@pytest.mark.parametrize(("line", "names"), [("❌ order 1 of many", True), ("❌ order 11 of many", False)])
def test_a_line_that_names_another_order_does_not_count(line: str, *, names: bool) -> None:
    assert _names(line, "order 1 of many") is names


@pytest.mark.parametrize("charged", [True, False])
def test_a_video_that_came_late_is_free_for_its_member(*, charged: bool) -> None:
    now = datetime.now(UTC)
    job = Job("job", JobState.DELIVERED, 1, 2, 3, Order("x"), now, now, charged=charged)
    assert _expected(job)[1] == Amounts(int(charged), 0, Decimal("0.10"))
