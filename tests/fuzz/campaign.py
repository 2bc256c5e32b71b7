"""Fuzzes the decoder for any time: `make fuzz MINUTES=60 SEED=7`.

`oracle` checks the frames. A picture that fails is saved, and printed with the seed and number that reproduce it.
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

BATCH_SIZE = 1000
EXPECTED_VERDICTS = {"frame", "refused"}


@dataclass
class Tally:
    """Counts of verdicts, and the failures by number."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: dict[int, str] = field(default_factory=dict)

    def add(self, number: int, verdict: str) -> None:
        """Counts one picture."""
        self.counts[verdict if verdict in EXPECTED_VERDICTS else "failed"] += 1
        if verdict not in EXPECTED_VERDICTS:
            self.failures[number] = verdict


def attempt(seed: int, start: int, stop: int) -> Tally:
    """Decodes the mutants from `start` up to `stop`, exclusive; continues after one that crashes its process."""
    tally = Tally()
    while start < stop:
        command = command_line("tests.fuzz", str(seed), str(start), str(stop))
        done = subprocess.run(  # noqa: S603 - our own module
            command, env=environment(), capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
        )
        lines = done.stdout.splitlines()
        for line in lines:
            number, _, verdict = line.partition(" ")
            start = int(number) + 1
            tally.add(int(number), verdict or f"crashed its process ({done.returncode})")
        if not lines:
            raise RuntimeError(f"the process did not start ({done.returncode}): {done.stderr[-2000:]}")
    return tally


def main() -> int:
    """Runs batches until the time is over. Returns 1 if any picture failed."""
    parser = argparse.ArgumentParser(description="Fuzz the picture decoder.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=Path("data/fuzz"), help="where failing pictures are saved")
    given = parser.parse_args()
    sys.stdout.write(f"seed {given.seed}, {given.minutes:g} minutes, {given.processes} processes\n")
    until = time.monotonic() + given.minutes * 60
    counts: Counter[str] = Counter()
    start = 0
    with ThreadPoolExecutor(given.processes) as pool:
        while time.monotonic() < until:
            starts = [start + BATCH_SIZE * index for index in range(given.processes)]
            start += BATCH_SIZE * given.processes
            for tally in pool.map(lambda first: attempt(given.seed, first, first + BATCH_SIZE), starts):
                counts += tally.counts
                for number, verdict in tally.failures.items():
                    given.keep.mkdir(parents=True, exist_ok=True)
                    (given.keep / f"{given.seed}-{number}").write_bytes(mutant(given.seed, number, samples()))
                    sys.stdout.write(f"seed {given.seed} number {number}: {verdict}\n")
            sys.stdout.write(f"{counts.total()} tried: {dict(counts)}\n")
            sys.stdout.flush()
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
