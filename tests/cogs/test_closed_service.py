"""While the video service takes no orders, everything that a member reads about a queued video says so."""

from datetime import datetime, timedelta

import pytest

from bot.domain.jobs import Job
from bot.operations.clock import utc_now
from bot.store.jobs import submission_gate
from tests.cogs.conftest import CogHarness, shown
from tests.faulty_gateway import Fault, Route
from tests.providers_asked import VTRIX

CLOSED = "The video service isn't taking orders right now."
OPEN = "next in line"


async def close_gate(harness: CogHarness, until: datetime | None = None) -> None:
    async with harness.app.database.write() as connection:
        until = until or utc_now() + timedelta(minutes=10)
        await submission_gate.close(connection, VTRIX, until, "no balance", utc_now())


async def queued_job(harness: CogHarness) -> Job:
    [job] = await harness.app.service.recent(harness.offline.guild.id, harness.offline.viewer.id)
    return job


async def test_the_answer_the_status_card_and_the_list_say_that_the_order_is_kept(harness: CogHarness) -> None:
    await close_gate(harness)

    answer = await harness.animate("waves roll in")
    status = await harness.wait_for_message("Waiting for the video service")

    assert f"{CLOSED} Your order is kept" in answer
    assert f"{CLOSED} This one is kept" in shown(status)
    assert OPEN not in shown(status)
    assert f"{CLOSED} Your orders are kept" in await harness.offline.command("videos list")
    assert not harness.gateway.received


async def test_the_list_says_nothing_of_it_where_nothing_waits(harness: CogHarness) -> None:
    await harness.animate()
    await harness.wait_for_video()
    await close_gate(harness)

    assert CLOSED not in await harness.offline.command("videos list")


@pytest.mark.full
async def test_a_status_card_follows_a_closure_and_its_end(harness: CogHarness) -> None:
    """The gateway asks for a pause of minutes; then, as if they were over, it takes the order."""
    busy = Fault(status=429, body={"message": "slow down"}, headers={"Retry-After": "600"})
    harness.gateway.fault(Route.CREATE, busy)

    await harness.animate("waves roll in")
    status = await harness.wait_for_message(CLOSED)
    assert "waves roll in" in shown(status)

    async with harness.app.database.write() as connection:
        await connection.execute(submission_gate._update(VTRIX).values(opens_at=None))
    harness.app.worker.wake()
    await harness.wait_for_video()

    assert "Your orders are kept" not in await harness.offline.command("videos list")


@pytest.mark.full
async def test_what_still_waits_when_the_service_takes_orders_again_says_so(harness: CogHarness) -> None:
    await close_gate(harness)
    await harness.animate()
    await harness.wait_for_message(CLOSED)
    while (await queued_job(harness)).due_at is not None:
        await harness.app.store.release([])
    async with harness.app.database.write() as connection:
        # Over, but the rate limit still holds this one back.
        later = utc_now() + timedelta(minutes=5)
        await connection.execute(submission_gate._update(VTRIX).values(opens_at=None, next_submit_at=later))

    await harness.app.store.open_gate(VTRIX, utc_now())
    harness.app.worker.wake()

    await harness.wait_for_message(OPEN)
