"""The money campaign: `python -m tests.money --jobs 10000` compares the ledger with what two gateways billed.

Prints its figures; the exit code is 1 if there is any difference.
"""

import argparse
import asyncio
import gc
import logging
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path

from bot.store.maintenance.migrate import migrate
from tests.money.audit import Audit, audit
from tests.money.campaign import Campaign
from tests.sqlite_in_loop import sqlite_in_loop
from tests.store import postgres_server
from tests.store.conftest import InjectedTimeDatabase

SHOWN = 20
"""How many differences are printed."""


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[InjectedTimeDatabase]:
    """A migrated database."""
    async with InjectedTimeDatabase.open(url) as database:
        await migrate(database)
        yield database


async def play(url: str, folder: Path, size: int, seed: int) -> tuple[Campaign, Audit, Audit]:
    """Plays a campaign. Returns it with what was found at its end, and after held costs were released."""
    async with opened(url) as database:
        campaign = Campaign(database, folder, size, seed)
        await campaign.run(say)
        at_end = await audit(campaign)
        await campaign.release()
        return campaign, at_end, await audit(campaign)


def report(campaign: Campaign, at_end: Audit, later: Audit) -> list[str]:
    """The figures, line by line."""
    faults = sum((gateway.faults for gateway in campaign.gateways.values()), Counter[str]())
    lines = [f"{at_end.jobs} jobs, {at_end.tasks} tasks, until {campaign.clock.now:%d %b %Y}"]
    lines += ["how the jobs ended: " + _counts(at_end.ends)]
    lines += ["gateways: " + _counts(faults)]
    lines += ["Discord: " + _counts(campaign.channel.faults)]
    lines += ["people and workers: " + _counts(campaign.happened)]
    lines += [f"{'':<52}{'jobs':>6}{'billed, USD':>18}{'ledger, USD':>18}{'difference':>14}"]
    for name in campaign.gateways:
        lines += [_row(f"{name}: cost known", "", at_end.billed[name], at_end.charged[name])]
    billed, charged = (sum(by_provider.values(), Decimal(0)) for by_provider in (at_end.billed, at_end.charged))
    lines += [_row("together", "", billed, charged)]
    for when, found in (("at the end", at_end), ("after the costs were released", later)):
        lines += [f"cost not told, {when}:"]
        for why, pairs in sorted(found.unknown.items()):
            sums = [sum(side, Decimal(0)) for side in zip(*pairs, strict=True)]
            lines += [_row(f"  {why}", len(pairs), *sums)]
    return lines


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()) if count)


def _row(name: str, jobs: object, billed: Decimal, charged: Decimal) -> str:
    return f"{name:<52}{jobs:>6}{billed:>18.9f}{charged:>18.9f}{charged - billed:>14.9f}"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.money", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000, help="how many videos are ordered (%(default)s)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="repeats orders and faults")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="sqlite")
    options = parser.parse_args()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)  # a fifth of the time otherwise
    logging.disable(logging.CRITICAL)  # thousands of faults, all on purpose
    kinds = ["sqlite", "postgresql"] if options.database == "both" else [options.database]
    wrong = 0
    for kind in kinds:
        say(f"{kind}, {options.jobs} jobs, --seed {options.seed}")
        began_s = time.monotonic()
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="money-")))
            stack.enter_context(sqlite_in_loop())
            is_file = kind == "sqlite"
            url = f"sqlite:///{folder / 'money.db'}" if is_file else stack.enter_context(postgres_server.running())
            found = asyncio.run(play(url, folder / "work", options.jobs, options.seed))
        spent_s = time.monotonic() - began_s
        say("\n".join(report(*found)))
        problems = [problem for one in found[1:] for problem in one.problems]
        wrong += len(problems)
        say("\n".join(problems[:SHOWN]) or "the ledger equals the books")
        speed = f"{spent_s:.0f} s, {options.jobs / spent_s:.0f} jobs/s"
        say(f"{len(problems)} differences, {kind}, --seed {options.seed}, {speed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
