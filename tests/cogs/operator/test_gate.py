"""`/operator gate`: why submissions are stopped, and opening the gate by hand."""

from datetime import UTC, datetime, timedelta

from bot.store.jobs import submission_gate
from tests.cogs.operator.conftest import OperatorServer
from tests.providers_asked import VTRIX


async def test_the_operator_sees_why_submissions_stopped_and_resumes_them(operator_server: OperatorServer) -> None:
    assert "submitting videos to the Vtrix gateway" in await operator_server.ask("gate")
    now = datetime.now(UTC)
    async with operator_server.harness.app.database.write() as connection:
        await submission_gate.close(connection, VTRIX, now + timedelta(minutes=14), "HTTP 429: **slow**", now)
    await operator_server.harness.animate("the waiting one")

    text = await operator_server.ask("gate")

    assert "**not submitting**" in text
    assert "1 video queued" in text
    assert "The reason:\n> HTTP 429" in text
    assert r"\*\*slow\*\*" in text
    assert "Resumed submissions" in await operator_server.ask("gate", state="open")
    await operator_server.harness.wait_for_video()
    assert "Nothing changed: submissions aren't stopped" in await operator_server.ask("gate", state="open")


async def test_those_who_still_wait_read_at_once_that_submissions_were_resumed(
    operator_server: OperatorServer,
) -> None:
    harness, now = operator_server.harness, datetime.now(UTC)
    async with harness.app.database.write() as connection:
        await submission_gate.close(connection, VTRIX, now + timedelta(minutes=14), "HTTP 429", now)
        # The configured rate holds the job back, whatever the gate says.
        await submission_gate.record_submission(connection, VTRIX, now + timedelta(minutes=10))
        await submission_gate.close(connection, VTRIX, now + timedelta(minutes=14), "HTTP 429", now)
    await harness.animate()
    await harness.wait_for_message("isn't taking orders right now")

    await operator_server.ask("gate", state="open")

    await harness.wait_for_message("next in line")
