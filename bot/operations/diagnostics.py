"""Process diagnostics on demand: `kill -USR1 <pid>` logs one line without disturbing anything."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def diagnostics_on_signal() -> AsyncIterator[None]:
    """Inside the block, SIGUSR1 logs diagnostics, where the system has that signal."""
    number = getattr(signal, "SIGUSR1", None)
    if number is None:
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, log_diagnostics)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)


def log_diagnostics() -> None:
    """Logs the number of asyncio tasks, and how many of them are job stages."""
    tasks = asyncio.all_tasks()
    stages = sum(task.get_name().startswith("job ") for task in tasks)
    log.info("diagnostics: %d tasks, %d of them job stages", len(tasks), stages)
