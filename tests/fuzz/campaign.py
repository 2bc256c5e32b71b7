"""Tries broken pictures for as long as one likes: `make fuzz MINUTES=60 SEED=7`.

What a frame must be, or a refusal, is said in `oracle`; whatever else comes of a picture is told with the seed and
number that make it again, and kept in a folder.
"""

import argparse
import random
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bot.media.sandbox import command_line, environment
from tests.fuzz.mutations import mutant, samples

ROUND = 1000
FINE = {"frame", "refused"}


@dataclass
class Tally:
    """How it went. `found`: of each picture that ended badly, its number and how."""

    counts: Counter[str] = field(default_factory=Counter)
    found: dict[int, str] = field(default_factory=dict)

    def add(self, number: int, verdict: str) -> None:
        """Counts one picture."""
        self.counts[verdict if verdict in FINE else "found"] += 1
        if verdict not in FINE:
            self.found[number] = verdict


def attempt(seed: int, start: int, stop: int) -> Tally:
    """Tries the mutants `start` up to `stop`, going on behind one that takes its process down."""
    tally = Tally()
    while start < stop:
        line = command_line("tests.fuzz", str(seed), str(start), str(stop))
        done = subprocess.run(  # noqa: S603 - our own module
            line, env=environment(), capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
        )
        said = done.stdout.splitlines()
        for one in said:
            number, _, verdict = one.partition(" ")
            start = int(number) + 1
            tally.add(int(number), verdict or f"took its process down ({done.returncode})")
        if not said:
            raise RuntimeError(f"the process did not start ({done.returncode}): {done.stderr[-2000:]}")
    return tally


def main() -> int:
    """Runs rounds until the time is over; whether anything was found, as an exit code."""
    parser = argparse.ArgumentParser(description="Break pictures and see what the decoder makes of them.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--keep", type=Path, default=Path("data/fuzz"), help="where pictures that end badly are kept"
    )
    given = parser.parse_args()
    sys.stdout.write(f"seed {given.seed}, {given.minutes:g} minutes, {given.processes} processes\n")
    until = time.monotonic() + given.minutes * 60
    counts: Counter[str] = Counter()
    start = 0
    with ThreadPoolExecutor(given.processes) as pool:
        while time.monotonic() < until:
            starts = [start + ROUND * index for index in range(given.processes)]
            start += ROUND * given.processes
            for tally in pool.map(lambda first: attempt(given.seed, first, first + ROUND), starts):
                counts += tally.counts
                for number, verdict in tally.found.items():
                    given.keep.mkdir(parents=True, exist_ok=True)
                    (given.keep / f"{given.seed}-{number}").write_bytes(mutant(given.seed, number, samples()))
                    sys.stdout.write(f"seed {given.seed} number {number}: {verdict}\n")
            sys.stdout.write(f"{counts.total()} tried: {dict(counts)}\n")
            sys.stdout.flush()
    return 1 if counts["found"] else 0


if __name__ == "__main__":
    sys.exit(main())
