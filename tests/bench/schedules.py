"""Polls × mean delay of the poll schedule, against a poll every 5 s. Simulated; see `schedule_simulation.py`.

The product is what counts, since polling twice as often halves the delay under any schedule. The laws' parameters
are those under which the schedule that learned nothing (a pause of an eighth of the age) has the ratios that were
measured before: 1.83, 0.97, 1.40, 1.95, 0.62 and 1.79.
"""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean

from tests.bench.report import Checkout, Row, run
from tests.bench.schedule_simulation import LAWS

SEEDS = (1, 2)
SCRIPT = Path(__file__).with_name("schedule_simulation.py")


def simulate(checkout: Checkout, law: str, seed: int) -> dict[str, list[float]]:
    """The polls of a task and the mean delay, of product and baseline."""
    found: dict[str, list[float]] = json.loads(checkout.run_script(SCRIPT, law, str(seed)))
    pairs = ", ".join(f"{side} {polls:.2f} × {delay_s:.2f} s" for side, (polls, delay_s) in found.items())
    print(f"{law}, seed {seed}: {pairs}", file=sys.stderr, flush=True)
    return found


def measure(checkout: Checkout) -> Iterator[Row]:
    """A row for each law."""
    with ThreadPoolExecutor(2) as pool:
        futures = {law: [pool.submit(simulate, checkout, law, seed) for seed in SEEDS] for law in LAWS}
        for law, waiting in futures.items():
            found = [future.result() for future in waiting]
            product, baseline = (
                fmean(polls * delay_s for polls, delay_s in (one[side] for one in found))
                for side in ("product", "baseline")
            )
            yield Row(f"polls × delay: {LAWS[law].name}", product, baseline, "s", LAWS[law].target)


if __name__ == "__main__":
    run(measure)
