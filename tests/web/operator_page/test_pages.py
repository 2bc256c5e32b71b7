"""What the operator's page shows, over HTTP, of an invented bot."""

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import insert, select, update

from bot.domain.jobs import JobState
from bot.services.operator.page import PAGE_SIZE
from bot.store.engine import Database
from bot.store.money_tables import daily_totals, provider_totals
from bot.store.privacy.anonymise import anonymise_batch
from bot.store.schema import jobs
from tests.providers_asked import DASHSCOPE
from tests.web.operator_page.conftest import NOW, Visitor, failed_job, visiting
from tests.web.operator_page.invented import HOSTILE_PROMPT, RULES, TOKEN


async def test_the_overview_says_how_everything_stands(operator: Visitor) -> None:
    words = (await operator.get("/")).words

    assert "In progress 14" in words
    assert "Queued 8 of 200" in words
    assert "Running 6 2 late" in words
    assert "of $3.00" in words
    assert re.search(r"being made 6 6 min 40 s ago", words)
    assert re.search(
        r"DashScope closed until 2026-01-31 12:04:00, in 4 min HTTP 429: &lt;too many&gt; requests", words
    )
    assert re.search(r"The Vtrix gateway open 4 of 8", words)
    assert re.search(r"this one now – 3 being made in 1 min", words)


async def test_a_provider_that_is_not_asked_any_more_stays_with_what_remains(database: Database) -> None:
    rules = replace(RULES, catalog=replace(RULES.catalog, providers=(DASHSCOPE,)))
    async with visiting(database, token=TOKEN, rules=rules) as operator:
        words = (await operator.get("/")).words
    row = words.partition("The Vtrix gateway ")[2].partition(" By state")[0]
    assert row == "not in use 4 still in progress $0.85 $0.85 $0.21 held for 2 with unknown cost"


async def test_running_jobs_stand_with_their_age_beside_what_is_usual(operator: Visitor) -> None:
    words = (await operator.get("/jobs")).words

    assert "6 being made" in words
    assert words.count(" late 5") + words.count(" late 1 min") == 2
    assert re.search(r"6 min 40 s late \d+ s|6 min 40 s late 1 min", words)
    assert words.count("p90 1 min") == 6


async def test_late_jobs_can_be_listed_alone(operator: Visitor) -> None:
    words = (await operator.get("/jobs?late=1")).words
    assert "2 running late" in words
    assert "6 min 40 s" in words
    assert " 31 s " not in words


async def test_the_queue_shows_each_place_in_line(operator: Visitor) -> None:
    page = await operator.get("/jobs?state=queued")
    places = re.findall(r'data-label="Place">(.+?)<', page.text)
    # The last one waits for its status card first.
    assert sorted(places) == ["1", "2", "3", "4", "5", "6", "7", "–"]


@pytest.mark.parametrize(
    "query", ["?state=delivered", "?state=nonsense", "?page=-1", "?page=x", "?page=99999999999"]
)
async def test_what_no_list_has_shows_the_usual_one(operator: Visitor, query: str) -> None:
    assert (await operator.get(f"/jobs{query}")).status == 200


async def test_failures_say_why_in_words_the_latest_first(operator: Visitor) -> None:
    words = (await operator.get("/failures")).words
    said = [
        "I lost the video service&#39;s answer",
        "couldn&#39;t be posted I can&#39;t post in its channel. Discord says: “Unknown Channel”.",
        "rejected by the video service&#39;s moderation",
        "The video service couldn&#39;t make it: “InternalError: &lt;worker&gt; lost”.",
        "took too long It wasn&#39;t finished after 30 minutes.",
    ]
    assert [text for text in said if text not in words] == []
    assert sorted(said, key=words.index) == said


async def test_a_long_list_has_pages(operator: Visitor, database: Database) -> None:
    job = await failed_job(database)
    async with database.write() as connection:
        row = (await connection.execute(jobs.select().where(jobs.c.id == job.id))).mappings().one()
        copies = [{**row, "id": f"copy-{number:03}"} for number in range(PAGE_SIZE)]
        await connection.execute(insert(jobs), copies)

    first, second = await operator.get("/failures"), await operator.get("/failures?page=2")

    assert 'href="/failures?page=2"' in first.text
    assert first.text.count('data-label="Job"') == PAGE_SIZE
    assert second.text.count('data-label="Job"') == 5
    assert "More" not in second.text


async def test_a_jobs_page_has_all_that_is_known_of_it(operator: Visitor, database: Database) -> None:
    job = await failed_job(database)
    words = (await operator.get(f"/jobs/{job.id}")).words

    assert "failed the video service couldn&#39;t make it" in words
    for happened in (
        "2026-01-31 09:48:00 Ordered",
        "2026-01-31 09:48:00 Given to the Vtrix gateway, to be submitted",
        "2026-01-31 09:48:00 Submitted: its task exists",
        "2026-01-31 09:49:00 Last seen running by a poll",
        "2026-01-31 09:49:00 Now failed: the video service couldn&#39;t make it",
        "2026-01-31 09:49:00 Ledger: returned $0.",
    ):
        assert happened in words
    assert f"Task task-{job.id}" in words
    assert "&#34;status&#34;: &#34;FAILED&#34;" in words
    assert "Picture kept, 84 kB" in words
    assert "Cost not known; estimated $0.1" in words
    assert "Balance 0 0 $0.00" in words


async def test_a_delivered_job_links_to_its_message(operator: Visitor, database: Database) -> None:
    async with database.read() as connection:
        job_id = await connection.scalar(select(jobs.c.id).where(jobs.c.state == JobState.DELIVERED).limit(1))
    page = await operator.get(f"/jobs/{job_id}")
    assert re.search(r'href="https://discord\.com/channels/1\d/1\d0/13\d+" rel="noreferrer">video', page.text)


async def test_an_anonymised_job_has_no_prompt_member_or_answer(operator: Visitor, database: Database) -> None:
    job = await failed_job(database)
    async with database.write() as connection:
        await connection.execute(update(jobs).where(jobs.c.id == job.id).values(due_at=None))
    assert await anonymise_batch(database, jobs, jobs.c.id == job.id) == 1

    words = (await operator.get(f"/jobs/{job.id}")).words

    assert "It was anonymised" in words
    assert "gnp.exe" not in words
    assert "InternalError" not in words
    assert "Member deleted" in words
    assert "None is kept." in words


async def test_an_unknown_job_and_an_unknown_page_are_plain_404s(operator: Visitor) -> None:
    for path, title in (("/jobs/no-such-job-here", "No such job"), ("/no/such/page", "No such page")):
        page = await operator.get(path)
        assert page.status == 404
        assert title in page.words


async def test_an_id_in_the_field_at_the_top_leads_to_its_job(operator: Visitor) -> None:
    page = await operator.get("/jobs?id=%20a-job%2F..%2Fx%20")
    assert (page.status, page.headers["Location"]) == (303, "/jobs/a-job%2F..%2Fx")


async def test_costs_are_summed_by_day_and_provider(operator: Visitor, database: Database) -> None:
    day = NOW.date() - timedelta(days=20)
    async with database.write() as connection:
        await connection.execute(insert(daily_totals).values(guild_id=0, day=day, videos=3, usd=Decimal("4.50")))
        await connection.execute(
            insert(provider_totals).values(provider="dashscope", day=day, usd=Decimal("1.25"))
        )

    words = (await operator.get("/costs")).words

    assert f"{day} 3 $4.50 – $1.25" in words
    assert "held in the budgets" in words


async def test_the_chart_is_a_picture(operator: Visitor) -> None:
    chart = await operator.get("/costs.png")
    assert chart.status == 200
    assert chart.headers["Content-Type"] == "image/png"
    assert "PNG" in chart.text


async def test_what_strangers_wrote_is_text_and_nothing_else(operator: Visitor, database: Database) -> None:
    job = await failed_job(database)
    for path in (
        "/",
        "/jobs",
        "/jobs?state=queued",
        "/failures",
        f"/jobs/{job.id}",
        "/jobs/%3Cscript%3E",
        "/<script>",
    ):
        page = (await operator.get(path)).text
        assert "<script" not in page
        assert "<b>Bold" not in page
        assert "<img src=x" not in page
        assert "<worker>" not in page
        assert "\u202e" not in page
    assert "&lt;/pre&gt;&lt;script&gt;" in (await operator.get(f"/jobs/{job.id}")).text
    assert HOSTILE_PROMPT.startswith("</pre><script>")


async def test_the_overview_loads_itself_again_until_it_is_told_not_to(operator: Visitor) -> None:
    for path in ("/", "/jobs?state=queued"):
        page = await operator.get(path)
        assert '<meta http-equiv="refresh" content="30">' in page.text
        stop = re.search(r'<a href="([^"]+)">Stop that', page.text)
        assert stop is not None
        still = await operator.get(stop[1].replace("&amp;", "&"))
        assert "http-equiv" not in still.text
    assert "http-equiv" not in (await operator.get("/costs")).text


async def test_a_database_that_fails_is_said_and_no_traceback_shown(operator: Visitor, database: Database) -> None:
    await database.close()
    for path in ("/", "/jobs", "/jobs/x", "/costs", "/failures"):
        page = await operator.get(path)
        assert page.status == 503
        assert "The database can&#39;t be read" in page.words
        assert "Traceback" not in page.text
        assert str(database.file) not in page.text


async def test_the_token_is_on_no_page(operator: Visitor) -> None:
    for path in ("/", "/jobs", "/login", "/costs", "/failures", "/none"):
        assert TOKEN not in (await operator.get(path)).text


async def test_a_head_request_has_no_body(operator: Visitor) -> None:
    answer = await operator.send("HEAD", "/")
    assert (answer.status, answer.text) == (200, "")


async def test_every_state_has_a_list(operator: Visitor) -> None:
    page = await operator.get("/jobs")
    for state in (JobState.AWAITING, JobState.QUEUED, JobState.SUBMITTING, JobState.RUNNING, JobState.DELIVERING):
        assert f'href="/jobs?state={state}"' in page.text
        assert (await operator.get(f"/jobs?state={state}")).status == 200
