"""Each gateway fault, judged by how the job ends.

Every row must keep the promises: at most one create request that may have been accepted, one video or one
reported failure, no charge without a video, and a second job that succeeds afterwards without a restart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.domain.jobs import FailureReason, JobState
from bot.providers.vtrix.client import Timeouts
from bot.store.jobs.job_store import JobStore
from tests.faults.upstream_harness import (
    DEFAULT_HTTP_TIMEOUTS,
    KEY,
    SHORT_HTTP_TIMEOUTS,
    Reply,
    floods,
    hangs,
    resets,
    responds,
    sends_raw,
    trickles,
    upstream_harness,
)
from tests.providers.servers import MP4

pytestmark = pytest.mark.full

COST, ESTIMATE, NO_COST = Decimal("0.12"), Decimal("0.20"), Decimal(0)
HEAD = b"HTTP/1.1 200 OK\r\n"
RECONCILE = "reconcil"
"""Part of the text that asks the operator to reconcile."""


@dataclass(frozen=True)
class Row:
    """One fault. `create`, `poll`, `result`: the gateway's first replies; later ones are normal.

    failure: None where the video is delivered. member, operator: words that their texts must contain.
    creates: how often the job was submitted.
    """

    name: str
    create: Sequence[Reply] = ()
    poll: Sequence[Reply] = ()
    result: Sequence[Reply] = ()
    failure: FailureReason | None = None
    usd: Decimal = COST
    creates: int = 1
    member: Sequence[str] = ()
    operator: Sequence[str] = ()
    timeouts: Timeouts = DEFAULT_HTTP_TIMEOUTS


def waits(name: str, *create: Reply, operator: Sequence[str] = ()) -> Row:
    """The job waits and does not fail."""
    return Row(f"create: {name}", create, creates=len(create) + 1, operator=operator)


def refused(name: str, create: Reply, *member: str) -> Row:
    return Row(f"create: {name}", [create], failure=FailureReason.REFUSED, usd=NO_COST, member=member)


def lost(name: str, create: Reply, *operator: str, timeouts: Timeouts = DEFAULT_HTTP_TIMEOUTS) -> Row:
    """A create request whose outcome stays unknown.

    The member is refunded, the estimate stays reserved, and the operator is told the details.
    """
    return Row(
        f"create: {name}",
        [create],
        failure=FailureReason.OUTCOME_UNKNOWN,
        usd=ESTIMATE,
        member=["lost the video service's answer", "doesn't count"],
        operator=[RECONCILE, *operator],
        timeouts=timeouts,
    )


def polled_again(name: str, *poll: Reply, timeouts: Timeouts = DEFAULT_HTTP_TIMEOUTS) -> Row:
    return Row(f"poll: {name}", poll=poll, timeouts=timeouts)


def downloaded_again(name: str, *result: Reply, timeouts: Timeouts = DEFAULT_HTTP_TIMEOUTS) -> Row:
    return Row(f"result: {name}", result=result, timeouts=timeouts)


def unusable(name: str, *result: Reply) -> Row:
    failure = FailureReason.RESULT_UNUSABLE
    return Row(f"result: {name}", result=result, failure=failure, member=["no video I could post"])


def redirects_to(url: str) -> Reply:
    return responds(b"", 302, Location=url)


INAPPROPRIATE = {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content."}
REFUSED_CONTENT = (
    "moderation rejected its picture or prompt",
    "inappropriate content",
    "doesn't count",
    "Change the",
)


def rejected(name: str, create: Reply) -> Row:
    return Row(
        f"create: {name}",
        [create],
        failure=FailureReason.REJECTED,
        usd=NO_COST,
        member=[*REFUSED_CONTENT],
    )


CREATES = [
    *[
        refused(str(status), responds({"error": {"code": 7, "message": "Too dark"}}, status), "Too dark")
        for status in (400, 404, 413, 422)
    ],
    refused("an error instead of an id", responds({"error": "Too dark"}), "Too dark"),
    refused("a refusal that is HTML", responds("<html>", 400), "code 400"),
    *[rejected(f"inappropriate content, {status}", responds(INAPPROPRIATE, status)) for status in (400, 403)],
    rejected("inappropriate content, 200", responds({"error": INAPPROPRIATE})),
    *[waits(str(status), responds({"message": "no"}, status)) for status in (401, 403, 429)],
    waits(
        "401 for long",
        *[responds({"message": "bad key"}, 401)] * 4,
        operator=["isn't accepting jobs", "bad key", "No job is lost"],
    ),
    waits("429 with seconds", responds({"message": "slow"}, 429, Retry_After="90")),
    waits("429 with nonsense", responds({"message": "slow"}, 429, Retry_After="soon")),
    *[
        lost(str(status), responds("<html>", status), f"answered {status}")
        for status in (302, 408, 500, 502, 503, 504)
    ],
    lost("reset", resets, "reset by peer"),
    lost("hanging", hangs, timeouts=SHORT_HTTP_TIMEOUTS),
    lost("slow drip", trickles(), timeouts=SHORT_HTTP_TIMEOUTS),
    lost("half an answer", sends_raw(HEAD + b'Content-Length: 99\r\n\r\n{"id": "t-1"')),
    lost("garbage", sends_raw(bytes(range(256))), "lost"),
    lost("HTML with 200", responds("<html>All is well", Content_Type="text/html"), "200", "a web page"),
    lost("nothing", responds(b""), "empty"),
    lost("500 MB", floods(500_000_000, b"{"), "far too large"),
    lost("neither id nor error", responds({"task": "t-1"}), "neither", "task"),
    *[
        lost(f"id {name}", responds({"id": value, "status": "in_progress"}))
        for name, value in {
            "a list": ["t-1"],
            "an object": {"id": "t-1"},
            "true": True,
            "empty": "",
            "endless": "t" * 5000,
            "with control characters": "t\n1\0",
        }.items()
    ],
    Row("create: id a number", [responds({"id": 17, "status": "in_progress"})]),
    Row("create: status a number", [responds({"id": "t-1", "status": 7})]),
    Row("create: with an HTML type", [responds({"id": "t-1"}, Content_Type="text/html")]),
]

_ODD: list[object] = ["x", 1e99, [], -1]
_OUTPUTS: dict[str, object] = {
    "missing": None,
    "an object": {"content": 3},
    "nested arrays": [[[[]]]],
    "with a url that is no text": [{"content": [{"type": "video", "url": 5}]}],
    "an image": [{"content": [{"type": "image", "url": "https://cdn.example/x.png"}]}],
}

POLLS = [
    *[polled_again(str(status), responds("<html>", status)) for status in (302, 408, 429, 500, 502, 503, 504)],
    *[polled_again(str(status), responds({"message": "no"}, status)) for status in (401, 403)],
    polled_again("404 for minutes", *[responds({"message": "no such task"}, 404)] * 9),
    Row(
        "poll: 404 for longer than a task may run",
        poll=[responds({"message": "no such task"}, 404)] * 99,
        failure=FailureReason.UPSTREAM_FAILED,
        usd=ESTIMATE,
        member=["no such task", "doesn't count"],
    ),
    polled_again("reset", resets, resets),
    polled_again("hanging", hangs, timeouts=SHORT_HTTP_TIMEOUTS),
    polled_again("slow drip", trickles(), timeouts=SHORT_HTTP_TIMEOUTS),
    polled_again("half an answer", sends_raw(HEAD + b'Content-Length: 99\r\n\r\n{"id": "t-1"')),
    polled_again("garbage", sends_raw(bytes(range(256)))),
    polled_again("HTML with 200", responds("<html>")),
    polled_again("nothing", responds(b"")),
    polled_again("500 MB", floods(500_000_000, b"{")),
    polled_again("nested without end", responds(b"[" * 100_000)),
    polled_again("nested deep", responds(b'{"id": "t-1", "output": ' + b"[" * 900 + b"]" * 900 + b"}")),
    polled_again("status a number", responds({"id": "t-1", "status": 1})),
    polled_again("progress of all kinds", *[responds({"id": "t-1", "progress": odd}) for odd in _ODD]),
    polled_again("progress that goes back", *[responds({"id": "t-1", "progress": part}) for part in (0.9, 0.1)]),
    Row(
        "poll: failed",
        poll=[responds({"id": "t-1", "status": "failed", "error": {"message": "It stumbled"}})],
        failure=FailureReason.UPSTREAM_FAILED,
        usd=NO_COST,
        member=["It stumbled", "doesn't count"],
    ),
    Row(
        "poll: failed for its content",
        poll=[responds({"id": "t-1", "status": "failed", "error": INAPPROPRIATE})],
        failure=FailureReason.REJECTED,
        usd=NO_COST,
        member=[*REFUSED_CONTENT],
    ),
    *[
        Row(
            f"poll: output {name}",
            poll=[responds({"id": "t-1", "status": "completed", "output": output, "usage": {"cost": "0.12"}})],
            failure=FailureReason.RESULT_UNUSABLE,
            member=["without a video"],
        )
        for name, output in _OUTPUTS.items()
    ],
]

RESULTS = [
    *[downloaded_again(str(status), responds(b"", status)) for status in (408, 429, 500, 503)],
    downloaded_again("reset", resets),
    downloaded_again("hanging", hangs, timeouts=SHORT_HTTP_TIMEOUTS),
    downloaded_again("slow drip", trickles(MP4), timeouts=SHORT_HTTP_TIMEOUTS),
    downloaded_again("shorter than it says", sends_raw(HEAD + b"Content-Length: 99999\r\n\r\n" + MP4)),
    downloaded_again("shorter than it should be", sends_raw(HEAD + b"Connection: close\r\n\r\n" + MP4[:1000])),
    downloaded_again("0 bytes", responds(b"")),
    downloaded_again("half a chunk", sends_raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n" + MP4)),
    downloaded_again("garbage", sends_raw(bytes(range(256)))),
    *[downloaded_again(f"{status} twice", *[responds(b"", status)] * 2) for status in (401, 403, 404, 410)],
    unusable("404 for ten minutes", *[responds(b"", 404)] * 99),
    unusable("451", responds(b"", 451)),
    unusable("HTML", responds("<html>" * 100)),
    unusable("2 GB, declared", floods(2_000_000_000, MP4)),
    unusable("2 GB, undeclared", floods(2_000_000_000, MP4, declared=False)),
    unusable("a redirect to nowhere", responds(b"", 302)),
    unusable("a loop", *[redirects_to("/r/t-1.mp4")] * 6),
    *[
        unusable(f"a redirect to {url}", redirects_to(url))
        for url in (
            "http://127.0.0.1:1/",
            "https://169.254.169.254/latest/meta-data",
            "https://[::ffff:127.0.0.1]/",
            "https://0x7f000001/",
            "file:///etc/passwd",
        )
    ],
]


@pytest.mark.parametrize(
    "row",
    [*CREATES, *(pytest.param(row, marks=pytest.mark.full) for row in (*POLLS, *RESULTS))],
    ids=lambda row: row.name,
)
async def test_a_fault_ends_as_the_table_says(row: Row, store: JobStore, tmp_path: Path) -> None:
    async with upstream_harness(store, tmp_path, timeouts=row.timeouts) as harness:
        for kind, replies in (("create", row.create), ("poll", row.poll), ("result", row.result)):
            harness.gateway.next_replies[kind].extend(replies)
        worker = harness.worker()
        job = await harness.order(1)
        await harness.run_until_ended(worker, job)
        end = await harness.job_result(job)
        delivered = row.failure is None
        assert (end.state, end.failure) == (JobState.DELIVERED if delivered else JobState.FAILED, row.failure)
        assert end.creates == row.creates
        assert (end.videos, end.charged_count, end.usd) == (delivered, delivered, row.usd)
        assert all(word in end.member for word in row.member), end.member
        assert all(word in end.operator for word in row.operator), end.operator
        assert row.operator or not end.operator, "a transient fault needs no notification to the operator"
        assert KEY not in end.member + end.operator
        assert not harness.gateway.next_replies["create"], "not every scripted reply was used"
        for replies in harness.gateway.next_replies.values():
            replies.clear()

        other = await harness.order(2)
        await harness.run_until_ended(worker, other)
        after = await harness.job_result(other)
        assert (after.state, after.creates, after.videos, after.usd) == (JobState.DELIVERED, 1, 1, COST)


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        ({"cost": 0.12}, COST),
        ({"cost": "0,12"}, ESTIMATE),
        ({"cost": float("nan")}, ESTIMATE),
        ({"cost": -5}, ESTIMATE),
        ({"cost": "0." + "1" * 5000}, ESTIMATE),
        ({"cost": "1e-9999"}, ESTIMATE),
        ({"cost": "-0"}, NO_COST),
        (None, ESTIMATE),
    ],
    ids=str,
)
async def test_an_invalid_cost_leaves_the_estimate(
    usage: Any, usd: Decimal, store: JobStore, tmp_path: Path
) -> None:
    async with upstream_harness(store, tmp_path) as harness:
        harness.gateway.next_replies["poll"].append(responds(harness.gateway.completed("t-1", usage=usage)))
        job = await harness.order(1)
        await harness.run_until_ended(harness.worker(), job)
        end = await harness.job_result(job)
        assert (end.state, end.videos, end.charged_count, end.usd) == (JobState.DELIVERED, 1, 1, usd)
