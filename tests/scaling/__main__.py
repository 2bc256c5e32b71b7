"""`python -m tests.scaling`: measures what one host does, and compares it with the model's prediction.

The costs of a job are taken from two of the points, and predict all others: the CPU time and the requests from the
one with the most slots, what a slot is held besides its task from the one with the fewest. A poll costs what it
costs a worker that does nothing else.
"""

import argparse
import asyncio
import dataclasses
import json
import tempfile
from pathlib import Path

from tests.bench import picture_samples, polls
from tests.bench.report import HERE, Checkout
from tests.scaling.measure import Bench, Point, Sizes, sizes
from tests.scaling.model import Host, JobCosts, jobs_per_minute

TASK_S = 4.0
SLOTS = (1, 2, 4, 8, 16, 32, 64, 128)
SLOW_RATE = 2.0
FEWEST_JOBS, MOST_JOBS = 12, 600
RUN_S = 30.0
MOST_PER_S = 8.0
"""No more is expected of one core: it only decides how many jobs a run has."""
POLLED_JOBS = 1000


def jobs_for(slots: int, submits_per_s: float) -> int:
    """How many jobs keep the bot busy for about `RUN_S`."""
    per_s = min(slots / TASK_S, submits_per_s, MOST_PER_S)
    return max(FEWEST_JOBS * slots // (slots + 3) + 4, 2 * slots, min(MOST_JOBS, round(per_s * RUN_S)))


async def measure() -> tuple[list[Point], Sizes]:
    """All points: those with ever more slots, then one that the rate of submissions limits."""
    points = []
    async with Bench.open(picture_samples.photo()) as bench:
        for slots, rate in [*((slots, 100.0) for slots in SLOTS), (SLOTS[-2], SLOW_RATE)]:
            points.append(
                await bench.measure(slots, task_s=TASK_S, jobs=jobs_for(slots, rate), submits_per_s=rate)
            )
            print(f"{slots} slots: {points[-1].per_s * 60:.1f} jobs a minute", flush=True)
        file, jobs = bench.last
        return points, sizes(file, jobs)


def poll_cpu_s() -> float:
    """What a poll takes of a worker whose jobs are always due: its one core is always busy."""
    with tempfile.TemporaryDirectory() as folder, polls.gateway() as port:
        url = f"sqlite:///{folder}/polls.db"
        polls.fill(Checkout(HERE), url, POLLED_JOBS)
        return 1 / polls.worker_rate(Checkout(HERE), url, port)


def costs_of(points: list[Point], of_a_job: Sizes, of_a_poll_s: float) -> JobCosts:
    """What a job takes, from the points with the fewest and the most slots."""
    fewest, most = points[0], max(points, key=lambda point: point.slots)
    return JobCosts(
        slot_overhead_s=fewest.slots / fewest.per_s - fewest.task_s,
        cpu_s=most.cpu_s - most.polls * of_a_poll_s,
        poll_cpu_s=of_a_poll_s,
        discord_requests=most.discord_requests,
        row_bytes=of_a_job.row,
        picture_bytes=of_a_job.picture,
    )


def table(points: list[Point], costs: JobCosts) -> list[str]:
    """Measured and predicted, as lines of a Markdown table."""
    lines = [
        "| slots | submissions per second | jobs a minute | predicted | limited by | CPU a job | polls | RSS |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for point in points:
        host = Host(point.slots, point.submits_per_s, point.task_s, point.polls)
        predicted, limit = jobs_per_minute(host, costs)
        lines.append(
            f"| {point.slots} | {point.submits_per_s:g} | {point.per_s * 60:.1f} | {predicted:.1f} | {limit} "
            f"| {point.cpu_s * 1000:.0f} ms | {point.polls:.1f} | {point.rss_bytes / 1e6:.0f} MB |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.scaling", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures, for the plot")
    options = parser.parse_args()
    points, of_a_job = asyncio.run(measure())
    costs = costs_of(points, of_a_job, poll_cpu_s())
    print("\n".join(table(points, costs)))
    print(f"a job: {costs}")
    if options.json is not None:
        figures = {"points": [dataclasses.asdict(point) for point in points], "costs": dataclasses.asdict(costs)}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
