"""`python -m tests.bench [NAME ...] [--against DIR]`: runs the benchmarks one by one, prints one table."""

import argparse
import subprocess
import sys
from pathlib import Path

from tests.bench.report import HERE, Row, parse, table

BENCHMARKS = (
    "claims",
    "idle",
    "orders",
    "usage",
    "schedules",
    "polls",
    "lateness",
    "pictures",
    "results",
    "command_line",
    "start",
    "memory",
    "server_memory",
    "many_servers",
)
"""The modules, in the order of the table."""


def rows_of(name: str, checkout: Path) -> list[Row]:
    """Runs one benchmark on a checkout; what it can't measure there is missing."""
    command = [sys.executable, "-m", f"tests.bench.{name}", "--json", "--checkout", str(checkout)]
    print(f"measuring {name} in {checkout}", file=sys.stderr, flush=True)
    done = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        print(f"{name} failed in {checkout} with exit code {done.returncode}", file=sys.stderr, flush=True)
    return list(parse(done.stdout.splitlines()))


def main() -> int:
    """Returns the exit code: 1 if a benchmark measured nothing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="What the bot costs, as ratios.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--against", type=Path, metavar="DIR", help="an older checkout, measured as well")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    pairs: list[tuple[Row, Row | None]] = []
    complete = True
    for name in options.names or BENCHMARKS:
        older = {row.name: row for row in rows_of(name, options.against.resolve())} if options.against else {}
        rows = rows_of(name, HERE)
        complete = complete and bool(rows)
        pairs += [(row, older.get(row.name)) for row in rows]
    print("\n".join(table(pairs)))
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
