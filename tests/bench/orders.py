"""What accepting an order costs when there is a long history of jobs, and when there is none."""

import json
from collections.abc import Iterator
from pathlib import Path

from tests.bench.report import Checkout, Row, run

MANY = 100_000


def measure(checkout: Checkout) -> Iterator[Row]:
    """A row for each step: CPU time with `MANY` ended jobs of the server ÷ with none."""
    script = Path(__file__).with_name("order_costs.py")
    taken = json.loads(checkout.run_script(script, "0", str(MANY)))
    for name, (with_none, with_many) in taken.items():
        yield Row(f"`{name}` at {MANY:,} ended jobs ÷ 0, SQLite", with_many, with_none, "ms", target=1.3)


if __name__ == "__main__":
    run(measure)
