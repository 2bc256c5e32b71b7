"""A `zoetrope` that is killed at a point: `python -m tests.crash.bot_process --at POINT TIMING N FOLDER -- run`.

The N-th time that any process which shares FOLDER reaches the point is the one. With `--hand-over` it does not die
by itself: it stands still until somebody outside has seen to it that the request which follows gets no answer, and
goes on; that one kills it then.
"""

import argparse
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bot.__main__ import main
from tests.crash.fault_points import FaultPoint, FaultTiming, watched

HITS, WAITING, GO = "hits", "waiting", "go"
"""Files in the folder: a byte for each hit, the id of the process that stands still, the sign to go on."""


@dataclass(frozen=True)
class Trigger:
    """What is called at each point."""

    point: FaultPoint
    timing: FaultTiming
    nth: int
    folder: Path
    hand_over: bool

    def __call__(self, point: FaultPoint, timing: FaultTiming) -> None:
        if (point, timing) != (self.point, self.timing):
            return
        with (self.folder / HITS).open("ab") as hits:
            hits.write(b".")
            hits.flush()
            count = hits.tell()
        if count != self.nth:
            return
        if not self.hand_over:
            os.kill(os.getpid(), signal.SIGKILL)
        fresh = self.folder / "fresh"
        fresh.write_text(str(os.getpid()))
        fresh.rename(self.folder / WAITING)
        while not (self.folder / GO).exists():
            time.sleep(0.005)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", nargs=4, metavar=("POINT", "TIMING", "N", "FOLDER"))
    parser.add_argument("--hand-over", action="store_true")
    parser.add_argument("command", nargs="*")
    given = parser.parse_args()
    if given.at is None:
        sys.exit(main(given.command))
    point, timing, nth, folder = given.at
    fuse = Trigger(FaultPoint(point), FaultTiming(timing), int(nth), Path(folder), given.hand_over)
    with watched(fuse):
        sys.exit(main(given.command))
