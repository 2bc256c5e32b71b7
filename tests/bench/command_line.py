"""How long the command line takes to say what it can do."""

import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median

from tests.bench.report import Checkout, Row, run

ROUNDS = 9


def seconds(checkout: Checkout) -> float:
    """The wall-clock seconds of one run."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "bot", "--help"]
    # Python would import the `bot` of the working directory first.
    subprocess.run(  # noqa: S603
        command, cwd=checkout.path, env=checkout.environment(), stdout=subprocess.DEVNULL, check=True
    )
    return time.perf_counter() - begin


def measure(checkout: Checkout) -> Iterator[Row]:
    """The rows of the command line."""
    help_s = median(seconds(checkout) for _ in range(ROUNDS))
    yield Row("`zoetrope --help`", help_s * 1000, None, "ms", target=0.15)


if __name__ == "__main__":
    run(measure)
