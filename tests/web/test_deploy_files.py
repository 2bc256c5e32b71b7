"""The alerts and the dashboard use only metrics that a running bot exports; deploy/check.sh parses them."""

import asyncio
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml  # type: ignore[import-untyped]  # its types are in a package of their own

from bot.demo.runner import opened, working
from bot.domain.jobs import JobState

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROMETHEUS_OWN = {"up"}
METRIC = re.compile(r"\b(?:zoetrope|process|python)_[a-z_]+\b|\bup\b")


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    return read


def dashboard_queries() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts, by their names."""
    groups = yaml.safe_load((DEPLOY / "prometheus-alerts.yml").read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def names_in(queries: Iterable[str]) -> set[str]:
    return {name for query in queries for name in METRIC.findall(query)} - PROMETHEUS_OWN


def exported(scrape: str) -> set[str]:
    """Every name that a query can ask for, also of metrics that have no series yet."""
    found = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", scrape, re.MULTILINE):
        suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        found |= {name + suffix for suffix in suffixes}
    return found


async def scrape_of(port: int | None) -> str:
    async with aiohttp.request("GET", f"http://127.0.0.1:{port}/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return await response.text()


async def test_a_running_demo_exports_every_metric_of_the_alerts_and_the_dashboard() -> None:
    ended = f'zoetrope_jobs_ended_total{{reason="",state="{JobState.DELIVERED}"}} 1.0'
    async with opened(metrics_port=0) as demo, working(demo):
        picture = (ROOT / "bot" / "demo" / "static" / "lighthouse.jpg").read_bytes()
        await demo.discord.animate(picture, "lighthouse.jpg", "the lamp turns", resolution="480P")
        while ended not in (scrape := await scrape_of(demo.app.metrics_port)):
            await asyncio.sleep(0.2)
        job = (await demo.app.service.recent(demo.discord.guild.id, demo.discord.viewer.id, limit=1))[0]
    queries = [*(rule["expr"] for rule in alerts().values()), *dashboard_queries()]
    assert names_in(queries) - exported(scrape) == set()
    assert len(names_in(queries)) > 30
    # No label holds what grows without a bound, or a secret.
    for told in (job.id, job.guild_id, job.channel_id, job.user_id, job.upstream_id, "of-no-value"):
        assert str(told) not in scrape


def test_a_metric_that_is_not_exported_would_be_found() -> None:
    exported_names = exported("# TYPE zoetrope_x_seconds histogram\n# TYPE zoetrope_y_total counter\n")
    assert names_in(["rate(zoetrope_x_seconds_bucket[5m]) / zoetrope_y_total", "zoetrope_z"]) - exported_names == {
        "zoetrope_z"
    }


def test_every_alert_says_how_bad_it_is_and_what_it_means() -> None:
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in {"critical", "warning"}, name
        assert {"summary", "description"} == set(rule["annotations"]), name


def test_every_alert_has_a_test_of_its_firing_and_of_its_silence() -> None:
    read = yaml.safe_load((DEPLOY / "prometheus-alerts-test.yml").read_text(encoding="utf-8"))
    silent, firing = (test["alert_rule_test"] for test in read["tests"])
    assert [each["alertname"] for each in silent if each["exp_alerts"]] == []
    assert sorted(each["alertname"] for each in silent) == sorted(alerts())
    assert sorted(each["alertname"] for each in firing if each["exp_alerts"]) == sorted(alerts())


def test_the_operators_page_says_what_to_do_about_every_alert() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(Zoetrope\w+)` \| (.+) \| (.+) \|$", page, re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == sorted(alerts())


def test_the_panels_of_the_dashboard_fit_and_explain_themselves() -> None:
    panels = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
    assert all(panel["description"] and panel["targets"] for panel in panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(ids)) == len(ids)
