"""Exports jobs as a CSV file for a server's admins: one row per job, no prompts.

Pure. A cell that a spreadsheet would treat as a formula is marked as text, and the file never exceeds its limit.
"""

import csv
import io
from collections.abc import Iterable

from bot.domain.usage_stats import JobLine

COLUMNS = (
    "id",
    "created_at",
    "member_id",
    "state",
    "failure",
    "resolution",
    "queue_seconds",
    "total_seconds",
    "usd_reserved",
    "usd",
)

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What begins a formula for a spreadsheet (OWASP, "CSV Injection")."""

_LINE_MAX = 1000
"""Longer than any row, in bytes."""


class JobCsv:
    """A CSV file that grows row by row. limit_bytes: its maximum size."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._file = io.StringIO(newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(COLUMNS)
        self.lines = 0

    def add(self, lines: Iterable[JobLine]) -> bool:
        """Adds rows; False once the file is full and the rest was left out."""
        for line in lines:
            if self._file.tell() + _LINE_MAX > self._limit_bytes:
                return False
            self._writer.writerow(_cells(line))
            self.lines += 1
        return True

    def data(self) -> bytes:
        """The file, in ASCII."""
        return self._file.getvalue().encode("ascii", "backslashreplace")


def _cells(line: JobLine) -> tuple[str, ...]:
    return (
        safe_cell(line.id),
        line.created_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        str(line.user_id),
        line.state.value,
        safe_cell(line.failure or ""),
        line.resolution.value,
        _seconds(line.in_queue_s),
        _seconds(line.to_video_s),
        "" if line.reserved_usd is None else f"{line.reserved_usd:f}",
        f"{line.usd:f}",
    )


def safe_cell(text: str) -> str:
    """The text as a cell that is never treated as a formula; ids can start with a minus."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f}"
