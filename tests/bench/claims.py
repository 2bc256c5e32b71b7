"""What a round of the worker's loop costs when nothing is due, with many jobs that have ended next to none."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.bench.report import Checkout, Row, run

ENDED = 100_000
ROUNDS = 3
HERE = Path(__file__).parent


def measure(checkout: Checkout) -> Iterator[Row]:
    """The row of the claims."""
    with tempfile.TemporaryDirectory() as folder:
        many, none = (f"sqlite:///{Path(folder) / name}.db" for name in ("many", "none"))
        for url, ended in ((many, ENDED), (none, 0)):
            checkout.run_script(HERE / "filled_database.py", url, str(ended), "0")
        pairs = [
            [1000 * float(checkout.run_script(HERE / "claim_costs.py", url)) for url in (many, none)]
            for _ in range(ROUNDS)
        ]
    with_ended, without = (median(found) for found in zip(*pairs, strict=True))
    yield Row(
        f"CPU of one claim with nothing due, {ENDED:,} ended jobs ÷ 0", with_ended, without, "ms", target=1.2
    )


if __name__ == "__main__":
    run(measure)
