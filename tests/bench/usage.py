"""What `/video-admin usage` costs on a busy server: the figures, the chart and the CSV file."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.bench.report import Checkout, Row, run

JOBS, DAYS, ROUNDS = 20_000, 30, 5


def measure(checkout: Checkout) -> Iterator[Row]:
    """The row of the usage report: CPU time, with that of the processes that it starts."""
    script = Path(__file__).with_name("usage_costs.py")
    taken = median(float(checkout.run_script(script, str(JOBS), str(DAYS))) for _ in range(ROUNDS))
    yield Row(f"`/video-admin usage`, {JOBS:,} jobs in {DAYS} days", taken, None, "ms", target=0.2)


if __name__ == "__main__":
    run(measure)
