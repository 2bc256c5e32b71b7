"""How the process stands, on demand: `kill -USR1 <pid>` makes it log one line, and disturbs nothing."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def diagnostics_on_signal() -> AsyncIterator[None]:
    """Within the block SIGUSR1, where the system has it, logs the vitals."""
    number = getattr(signal, "SIGUSR1", None)
    if number is None:
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, tell)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)


def tell() -> None:
    """Logs how many tasks there are, and how many of them are steps of jobs."""
    tasks = asyncio.all_tasks()
    steps = sum(task.get_name().startswith("job ") for task in tasks)
    log.info("vitals: %d tasks, %d of them steps of jobs", len(tasks), steps)
