"""What the fork server imports before it forks the first bot; nothing here may start a thread."""

import gc
import importlib
import os
import pkgutil
import threading
from pathlib import Path

import cogs

_DIALECTS = ("sqlite.aiosqlite", "postgresql.asyncpg")

for module in pkgutil.walk_packages(cogs.__path__, "cogs."):
    importlib.import_module(module.name)
for name in (
    "tests.crash.bot_process",
    "aiosqlite",
    "asyncpg",
    *(f"sqlalchemy.dialects.{dialect}" for dialect in _DIALECTS),
):
    importlib.import_module(name)

PID = os.getpid()
_tasks = Path("/proc/self/task")  # those of libraries, too
THREADS = len(list(_tasks.iterdir())) if _tasks.exists() else threading.active_count()
gc.freeze()  # so that a fork does not copy what the collector touches
