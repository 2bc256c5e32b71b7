"""Measures a long-running process, and detects levels that rise."""

import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil  # type: ignore[import-untyped]

_DIAGNOSTICS = re.compile(r"diagnostics: (\d+) tasks")


@dataclass(frozen=True)
class Allowance:
    """How far a level may rise over a whole run: by this share, plus an absolute amount."""

    share: float
    absolute: float


ALLOWED = {
    "memory MB": Allowance(0.10, 12),
    "descriptors": Allowance(0.10, 6),
    "temporary files": Allowance(0, 8),
    "tasks": Allowance(0.25, 10),
    "WAL MB": Allowance(0.5, 2),
    "database bytes a job": Allowance(0.25, 500),
}
WARM_UP = 0.2
"""The share of a run, at its beginning, in which levels may still rise."""


def thirds(samples: list[float]) -> tuple[float, float, float]:
    """The medians of the three thirds of what follows the warm-up."""
    level = samples[int(len(samples) * WARM_UP) :]
    size = max(1, len(level) // 3)
    return median(level[:size]), median(level[size : 2 * size] or level), median(level[2 * size :] or level)


def rises(samples: list[float], allowance: Allowance) -> bool:
    """Whether the level rose in each third, and by more than the allowance."""
    first, second, third = thirds(samples)
    return first < second < third and third > first * (1 + allowance.share) + allowance.absolute


@dataclass
class Probe:
    """Measures a running bot. `log`: the file with its output; `temporary`: its TMPDIR."""

    process_id: int
    log: Path
    temporary: Path
    database: Path

    def ask(self) -> None:
        """Makes the process log its diagnostics; the next `take` reads them."""
        os.kill(self.process_id, signal.SIGUSR1)

    def take(self, jobs: int) -> dict[str, float]:
        """The current levels. jobs: how many the database contains."""
        process = psutil.Process(self.process_id)
        processes = [process, *process.children(recursive=True)]
        logged = _DIAGNOSTICS.findall(self.log.read_text(errors="replace"))
        wal = self.database.with_name(f"{self.database.name}-wal")
        return {
            "memory MB": sum(_memory(one) for one in processes) / 2**20,
            "descriptors": float(process.num_fds()),
            "temporary files": float(sum(1 for path in self.temporary.rglob("*") if path.is_file())),
            "tasks": float(logged[-1]) if logged else 0.0,
            "WAL MB": (wal.stat().st_size if wal.exists() else 0) / 2**20,
            "database bytes a job": self.database.stat().st_size / max(1, jobs),
        }


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
