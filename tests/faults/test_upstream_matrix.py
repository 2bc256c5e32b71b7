"""Each of the gateway's faults, through the whole life of a job, judged by its end.

Of every row the promises are asked: at most one create that may have been taken, one video or one told failure,
nothing counted without a video, and a second job that goes its way afterwards without a restart.
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
    HURRIED,
    KEY,
    PATIENT,
    Reply,
    drips,
    floods,
    hangs,
    machine,
    resets,
    says,
    wires,
)
from tests.providers.servers import MP4

COST, ESTIMATE, NOTHING = Decimal("0.12"), Decimal("0.20"), Decimal(0)
HEAD = b"HTTP/1.1 200 OK\r\n"
LOST = "reconcil"
"""The operator is asked to reconcile."""


@dataclass(frozen=True)
class Row:
    """One fault. `create`, `look`, `result`: what the gateway does first; then it works.

    failure: None where the video is delivered. member, operator: what they read of it, all of these words.
    creates: how often the job was handed in.
    """

    name: str
    create: Sequence[Reply] = ()
    look: Sequence[Reply] = ()
    result: Sequence[Reply] = ()
    failure: FailureReason | None = None
    usd: Decimal = COST
    creates: int = 1
    member: Sequence[str] = ()
    operator: Sequence[str] = ()
    timeouts: Timeouts = PATIENT


def held(name: str, *create: Reply, operator: Sequence[str] = ()) -> Row:
    """The job waits, and nobody's is failed."""
    return Row(f"create: {name}", create, creates=len(create) + 1, operator=operator)


def refused(name: str, create: Reply, *member: str) -> Row:
    return Row(f"create: {name}", [create], failure=FailureReason.REFUSED, usd=NOTHING, member=member)


def lost(name: str, create: Reply, *operator: str, timeouts: Timeouts = PATIENT) -> Row:
    """A create whose outcome stays unknown: given back, and told to the operator with what is known."""
    return Row(
        f"create: {name}",
        [create],
        failure=FailureReason.OUTCOME_UNKNOWN,
        usd=NOTHING,
        member=["did not answer whether it took it", "does not count"],
        operator=[LOST, *operator],
        timeouts=timeouts,
    )


def seen_again(name: str, *look: Reply, timeouts: Timeouts = PATIENT) -> Row:
    return Row(f"look: {name}", look=look, timeouts=timeouts)


def fetched_again(name: str, *result: Reply, timeouts: Timeouts = PATIENT) -> Row:
    return Row(f"result: {name}", result=result, timeouts=timeouts)


def unusable(name: str, *result: Reply) -> Row:
    failure = FailureReason.RESULT_UNUSABLE
    return Row(f"result: {name}", result=result, failure=failure, member=["no video that I could post"])


def to(url: str) -> Reply:
    return says(b"", 302, Location=url)


CREATES = [
    *[
        refused(str(status), says({"error": {"code": 7, "message": "Too dark"}}, status), "Too dark")
        for status in (400, 404, 413, 422)
    ],
    refused("an error instead of an id", says({"error": "Too dark"}), "Too dark"),
    refused("a refusal that is HTML", says("<html>", 400), "HTTP 400"),
    *[held(str(status), says({"message": "no"}, status)) for status in (401, 403, 429)],
    held(
        "401 for long",
        *[says({"message": "bad key"}, 401)] * 4,
        operator=["isn't accepting jobs", "bad key", "No job is lost"],
    ),
    held("429 with seconds", says({"message": "slow"}, 429, Retry_After="90")),
    held("429 with nonsense", says({"message": "slow"}, 429, Retry_After="soon")),
    *[
        lost(str(status), says("<html>", status), f"answered {status}")
        for status in (302, 408, 500, 502, 503, 504)
    ],
    lost("reset", resets, "reset by peer"),
    lost("hanging", hangs, timeouts=HURRIED),
    lost("slow drip", drips(), timeouts=HURRIED),
    lost("half an answer", wires(HEAD + b'Content-Length: 99\r\n\r\n{"id": "t-1"')),
    lost("garbage", wires(bytes(range(256))), "lost"),
    lost("HTML with 200", says("<html>All is well", Content_Type="text/html"), "200", "All is well"),
    lost("nothing", says(b""), "empty"),
    lost("500 MB", floods(500_000_000, b"{"), "far too large"),
    lost("neither id nor error", says({"task": "t-1"}), "neither", "task"),
    *[
        lost(f"id {name}", says({"id": value, "status": "in_progress"}))
        for name, value in {
            "a list": ["t-1"],
            "an object": {"id": "t-1"},
            "true": True,
            "empty": "",
            "endless": "t" * 5000,
            "with control characters": "t\n1\0",
        }.items()
    ],
    Row("create: id a number", [says({"id": 17, "status": "in_progress"})]),
    Row("create: status a number", [says({"id": "t-1", "status": 7})]),
    Row("create: with an HTML type", [says({"id": "t-1"}, Content_Type="text/html")]),
]

_ODD: list[object] = ["x", 1e99, [], -1]
_OUTPUTS: dict[str, object] = {
    "missing": None,
    "an object": {"content": 3},
    "nested arrays": [[[[]]]],
    "with a url that is no text": [{"content": [{"type": "video", "url": 5}]}],
    "an image": [{"content": [{"type": "image", "url": "https://cdn.example/x.png"}]}],
}

LOOKS = [
    *[seen_again(str(status), says("<html>", status)) for status in (302, 408, 429, 500, 502, 503, 504)],
    *[seen_again(str(status), says({"message": "no"}, status)) for status in (401, 403)],
    seen_again("404 once", says({"message": "no such task"}, 404)),
    Row(
        "look: 404 for long",
        look=[says({"message": "no such task"}, 404)] * 3,
        failure=FailureReason.UPSTREAM_FAILED,
        usd=NOTHING,
        member=["no such task", "does not count"],
    ),
    seen_again("reset", resets, resets),
    seen_again("hanging", hangs, timeouts=HURRIED),
    seen_again("slow drip", drips(), timeouts=HURRIED),
    seen_again("half an answer", wires(HEAD + b'Content-Length: 99\r\n\r\n{"id": "t-1"')),
    seen_again("garbage", wires(bytes(range(256)))),
    seen_again("HTML with 200", says("<html>")),
    seen_again("nothing", says(b"")),
    seen_again("500 MB", floods(500_000_000, b"{")),
    seen_again("nested without end", says(b"[" * 100_000)),
    seen_again("nested deep", says(b'{"id": "t-1", "output": ' + b"[" * 900 + b"]" * 900 + b"}")),
    seen_again("status a number", says({"id": "t-1", "status": 1})),
    seen_again("progress of all kinds", *[says({"id": "t-1", "progress": odd}) for odd in _ODD]),
    seen_again("progress that goes back", *[says({"id": "t-1", "progress": part}) for part in (0.9, 0.1)]),
    Row(
        "look: failed",
        look=[says({"id": "t-1", "status": "failed", "error": {"message": "It stumbled"}})],
        failure=FailureReason.UPSTREAM_FAILED,
        usd=NOTHING,
        member=["It stumbled", "does not count"],
    ),
    *[
        Row(
            f"look: output {name}",
            look=[says({"id": "t-1", "status": "completed", "output": output, "usage": {"cost": "0.12"}})],
            failure=FailureReason.RESULT_UNUSABLE,
            member=["without a video"],
        )
        for name, output in _OUTPUTS.items()
    ],
]

RESULTS = [
    *[fetched_again(str(status), says(b"", status)) for status in (408, 429, 500, 503)],
    fetched_again("reset", resets),
    fetched_again("hanging", hangs, timeouts=HURRIED),
    fetched_again("slow drip", drips(MP4), timeouts=HURRIED),
    fetched_again("shorter than it says", wires(HEAD + b"Content-Length: 99999\r\n\r\n" + MP4)),
    fetched_again("half a chunk", wires(HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n" + MP4)),
    fetched_again("garbage", wires(bytes(range(256)))),
    *[unusable(str(status), says(b"", status)) for status in (403, 404, 410)],
    unusable("0 bytes", says(b"")),
    unusable("HTML", says("<html>" * 100)),
    unusable("2 GB, declared", floods(2_000_000_000, MP4)),
    unusable("2 GB, undeclared", floods(2_000_000_000, MP4, declared=False)),
    unusable("a redirect to nowhere", says(b"", 302)),
    unusable("a loop", *[to("/r/t-1.mp4")] * 6),
    *[
        unusable(f"a redirect to {url}", to(url))
        for url in (
            "http://127.0.0.1:1/",
            "https://169.254.169.254/latest/meta-data",
            "https://[::ffff:127.0.0.1]/",
            "https://0x7f000001/",
            "file:///etc/passwd",
        )
    ],
]


@pytest.mark.parametrize("row", [*CREATES, *LOOKS, *RESULTS], ids=lambda row: row.name)
async def test_a_fault_ends_as_the_table_says(row: Row, store: JobStore, tmp_path: Path) -> None:
    async with machine(store, tmp_path, timeouts=row.timeouts) as house:
        for kind, replies in (("create", row.create), ("look", row.look), ("result", row.result)):
            house.gateway.told[kind].extend(replies)
        worker = house.worker()
        job = await house.order(1)
        await house.to_the_end(worker, job)
        end = await house.end_of(job)
        delivered = row.failure is None
        assert (end.state, end.failure) == (JobState.DELIVERED if delivered else JobState.FAILED, row.failure)
        assert end.creates == row.creates
        assert (end.videos, end.counted, end.usd) == (delivered, delivered, row.usd)
        assert all(word in end.member for word in row.member), end.member
        assert all(word in end.operator for word in row.operator), end.operator
        assert row.operator or not end.operator, "the operator is not bothered with what mends itself"
        assert KEY not in end.member + end.operator
        assert not house.gateway.told["create"], "the row's faults were met"

        other = await house.order(2)
        await house.to_the_end(worker, other)
        after = await house.end_of(other)
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
        ({"cost": "-0"}, NOTHING),
        (None, ESTIMATE),
    ],
    ids=str,
)
async def test_an_invalid_cost_leaves_the_estimate(
    usage: Any, usd: Decimal, store: JobStore, tmp_path: Path
) -> None:
    async with machine(store, tmp_path) as house:
        house.gateway.told["look"].append(says(house.gateway.completed("t-1", usage=usage)))
        job = await house.order(1)
        await house.to_the_end(house.worker(), job)
        end = await house.end_of(job)
        assert (end.state, end.videos, end.counted, end.usd) == (JobState.DELIVERED, 1, 1, usd)
