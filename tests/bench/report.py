"""What a benchmark reports, and how one is run by itself: `python -m tests.bench.NAME`.

A benchmark is a module with a generator `measure(checkout)`, which yields rows, and ends with `run(measure)`. It
measures the code of `checkout` in processes of its own, so that an older checkout can be measured as well, and
the baseline next to it, in turns, so that both meet the same noise.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
"""The checkout that these benchmarks belong to."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    product, baseline: both in `unit`; a baseline of None is the same row of an older checkout. target: what the
    ratio product ÷ baseline should be at most, or at least where `more_is_better`.
    """

    name: str
    product: float
    baseline: float | None
    unit: str
    target: float
    more_is_better: bool = False

    def ratio(self, older: "Row | None" = None) -> float | None:
        """Product ÷ baseline; None if the baseline is an older checkout that was not measured."""
        baseline = self.baseline if self.baseline is not None else older and older.product
        return self.product / baseline if baseline else None

    def is_met(self, ratio: float) -> bool:
        """Whether a ratio meets the target."""
        return ratio >= self.target if self.more_is_better else ratio <= self.target


@dataclass(frozen=True, slots=True)
class Checkout:
    """A copy of the project whose code is measured, with the packages of this interpreter."""

    path: Path

    def environment(self, also: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment in which `python -m bot`, or a script, imports this checkout's code."""
        return {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.path), **(also or {})}

    def run_script(self, script: Path, *arguments: str) -> str:
        """Runs a script on this checkout's code; returns its output. Raises: CalledProcessError."""
        command = [sys.executable, str(script), *arguments]
        done = subprocess.run(  # noqa: S603 - our own script
            command, env=self.environment(), stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout


Measure = Callable[[Checkout], Iterable[Row]]


def run(measure: Measure) -> None:
    """The command line of one benchmark: prints its rows."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--checkout", type=Path, default=HERE, help="the copy of the project to measure")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    options = parser.parse_args()
    rows = measure(Checkout(options.checkout.resolve()))
    if options.json:
        for row in rows:
            print(json.dumps(dataclasses.asdict(row)), flush=True)
        return
    for line in table([(row, None) for row in rows]):
        print(line)


def parse(lines: Iterable[str]) -> Iterator[Row]:
    """The rows that a benchmark printed with `--json`."""
    for line in lines:
        yield Row(**json.loads(line))


def table(rows: Sequence[tuple[Row, Row | None]]) -> Iterator[str]:
    """The rows as lines of a Markdown table; the second of each pair is the same row of an older checkout."""
    yield "| row | product | baseline | ratio | target | met | older product | older ratio |"
    yield "|---|---|---|---|---|---|---|---|"
    for row, older in rows:
        ratio = row.ratio(older)
        bound = f"{'≥' if row.more_is_better else '≤'} {row.target:g}"
        if row.baseline is None:
            bound += " of older"
        met = "" if ratio is None else "yes" if row.is_met(ratio) else "**no**"
        cells = [row.name, _amount(row.product, row.unit), _amount(row.baseline, row.unit)]
        cells += [_number(ratio), bound, met]
        cells += ["", ""] if older is None else [_amount(older.product, older.unit), _number(older.ratio())]
        yield "| " + " | ".join(cells) + " |"


def _amount(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{_number(value)} {unit}".rstrip()


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
