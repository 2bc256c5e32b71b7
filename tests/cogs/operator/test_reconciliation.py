"""Lost orders, costs and the ledger under `/operator`."""

from dataclasses import replace

import pytest

from bot.domain.jobs import JobState
from tests.cogs.operator.conftest import OperatorServer, _all_jobs, a_lost_order


async def test_a_lost_order_is_listed_without_its_prompt(operator_server: OperatorServer) -> None:
    job = await a_lost_order(operator_server)

    text = await operator_server.ask("reconcile list")

    assert f"`{job.id}`" in text
    assert "720P · about $0.14" in text
    assert f"member `{job.user_id}`" in text
    assert "the lost one" not in text
    assert [choice["value"] for choice in await operator_server.choices("reconcile found", "job", job.id)] == [
        job.id
    ]


async def test_the_video_of_a_found_task_is_delivered_for_free(operator_server: OperatorServer) -> None:
    await operator_server.harness.animate("another one")
    await operator_server.harness.wait_for_video()
    [task] = operator_server.harness.gateway.tasks
    other = await operator_server.job()
    job = await a_lost_order(operator_server)

    taken = await operator_server.ask("reconcile found", job=job.id, upstream_id=str(other.upstream_id))
    assert "Another job already has that task id" in taken

    operator_server.harness.gateway.tasks["task-found"] = replace(
        operator_server.harness.gateway.tasks[task], id="task-found"
    )
    text = await operator_server.ask("reconcile found", job=job.id, upstream_id=" task-found ")

    assert "continues with task task" in text
    await operator_server.harness.wait_for_video("the lost one")
    assert "Nothing needs reconciling" in await operator_server.ask("reconcile list")
    [revived] = [it for it in await _all_jobs(operator_server) if it.id == job.id]
    assert (revived.state, revived.charged) == (JobState.DELIVERED, False)
    assert "0 videos" in await operator_server.ask("ledger", job=job.id)
    assert f"<@{operator_server.operator.id}> found the task" in await operator_server.ask("log")


async def test_a_lost_order_without_a_task_is_closed(operator_server: OperatorServer) -> None:
    job = await a_lost_order(operator_server)

    text = await operator_server.ask("reconcile lost", job=job.id)

    assert "No cost is held for it any more" in text
    assert "Nothing needs reconciling" in await operator_server.ask("reconcile list")
    assert "nothing to reconcile" in await operator_server.ask("reconcile lost", job=job.id)
    assert f"job `{job.id}`" in await operator_server.ask("log")


@pytest.mark.parametrize("upstream_id", ["x", "has blanks", "a/../b", "?x=1234", "x" * 201, "日本日本"])
async def test_an_invalid_task_id_is_refused(operator_server: OperatorServer, upstream_id: str) -> None:
    assert "That isn't a task id" in await operator_server.ask(
        "reconcile found", job="some-job", upstream_id=upstream_id
    )


async def test_an_unknown_job_is_reported_as_unknown(operator_server: OperatorServer) -> None:
    assert "no job with that id" in await operator_server.ask("reconcile lost", job="x")
    assert "no job with that id" in await operator_server.ask("reconcile found", job="x", upstream_id="task-1")
    assert "no job with that id" in await operator_server.ask("ledger", job="x")


async def test_the_costs_command_shows_prices_and_unknown_costs(operator_server: OperatorServer) -> None:
    await a_lost_order(operator_server)

    text = await operator_server.ask("costs")

    assert "720P: **$0.14** (from the settings; 0 paid so far; setting: $0.14)" in text
    assert "you may be billed for: **$0.14**" in text
    assert "total: **$0.14**" in text


async def test_the_costs_command_has_the_chart_of_the_operators_page(operator_server: OperatorServer) -> None:
    await operator_server.harness.animate()
    await operator_server.harness.wait_for_video()

    result = await operator_server.send("costs")

    assert result.response is not None
    [chart] = result.response.attachments
    assert (chart.filename, (await chart.read())[:4]) == ("costs.png", b"\x89PNG")
    assert chart.description is not None
    assert chart.description.startswith("Bar chart: $0.10 for what was ordered from ")


async def test_the_ledger_explains_a_job_line_by_line(operator_server: OperatorServer) -> None:
    await operator_server.harness.animate()
    await operator_server.harness.wait_for_video()
    job = await operator_server.job()

    text = await operator_server.ask("ledger", job=job.id)

    assert "**reserve** videos +1, $0.14" in text
    assert "accepted" in text
