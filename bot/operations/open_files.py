"""Lets the process have more files and connections open than systems allow by default."""

import resource
from contextlib import suppress

MANY = 4096
"""Hundreds of polls may be under way, each with a connection; by default macOS allows 256, most of Linux 1024.

With none left, SQLite can't open its file, and a submission may fail after its job was claimed.
"""


def allow_many() -> None:
    """Raises the limit to `MANY`, or as far as this user may. Never lowers it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY if hard == resource.RLIM_INFINITY else min(MANY, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    with suppress(OSError, ValueError):  # macOS has limits that it does not report
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
