"""A script of `usage.py`: measures the first usage report of a process; prints the milliseconds of CPU time."""

import asyncio
import resource
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from server_history import GUILD_ID, NEWEST, fill  # type: ignore[import-not-found] # beside this script

from bot.domain.guilds import OperatorDefaults
from bot.domain.usage_stats import Period
from bot.services.admin.audited import Admin
from bot.services.admin.service import AdminService
from bot.store.engine import Database

LIMIT_BYTES = 10_000_000


def cpu_s() -> float:
    """The CPU time of this process and the children that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


async def measure(count: int, days: int) -> float:
    """One report on `count` jobs of `days` days."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "zoetrope.db"
        await fill(file, count, over=timedelta(days=days))
        async with Database.open(f"sqlite:///{file}") as database:
            service = AdminService(
                database,
                OperatorDefaults(),
                wake=lambda: None,
                clock=lambda: NEWEST,
                task_lifetime=timedelta(days=1),
            )
            begin = cpu_s()
            report = await service.usage.report(Admin(GUILD_ID, 1), Period.THIRTY_DAYS, limit_bytes=LIMIT_BYTES)
            taken = cpu_s() - begin
    if report.chart is None or not 0.9 * count < report.csv_lines <= count:
        raise SystemExit(f"the report has {report.csv_lines} lines of {count}")
    return taken * 1000


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(measure(int(sys.argv[1]), int(sys.argv[2])))}\n")
