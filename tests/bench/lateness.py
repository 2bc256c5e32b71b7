"""How late polls are with thousands of running jobs and pauses of 3 to 15 seconds."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.polls import fill, gateway
from tests.bench.report import Checkout, Row, run

SECONDS = 32.0
HERE = Path(__file__).parent


def measure(checkout: Checkout) -> Iterator[Row]:
    """The rows of the lateness, and of the CPU that it takes."""
    for jobs, limit_s in ((2000, 0.5), (10_000, 2.0)):
        with tempfile.TemporaryDirectory() as folder, gateway() as port:
            url = f"sqlite:///{Path(folder) / 'zoetrope.db'}"
            fill(checkout, url, jobs)
            arguments = [url, str(port), str(SECONDS), "3", "15"]
            found = json.loads(checkout.run_script(HERE / "polling_worker.py", *arguments))
        of = f"{jobs:,} running, pauses of 3 to 15 s"
        yield Row(
            f"lateness of polls p99 ÷ {limit_s:g} s, {of}", found["late_s"]["0.99"], limit_s, "s", target=1.0
        )
        yield Row(f"CPU of that, {of}", found["cpu_s"] / found["seconds"], 1.0, "cores", target=1.0)


if __name__ == "__main__":
    run(measure)
