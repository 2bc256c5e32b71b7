"""Runs `zoetrope` in a process of its own, which is killed at a crash point if that is asked for.

Each process is forked from one that has imported the whole program: the imports cost as much CPU as everything the
process does in a case. It has its own session, event loop, environment, folder and log, and is killed with SIGKILL
like any other. Without a hook it is the program as it is, with nothing wrapped.
"""

import asyncio
import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, NoReturn

from bot.__main__ import main
from bot.domain.models import PictureLimits
from bot.domain.status_cards import StatusCard
from bot.media.first_frame import prepare_first_frame
from bot.media.prepared_frame import PreparedFrame
from bot.services.videos import VideoService
from bot.worker.status_cards import StatusCards
from tests.crash.fault_points import FaultPoint, FaultTiming, Hook, replaced, watched

HITS, WAITING, GO, REACHED = "hits", "waiting", "go", "reached"
"""Files: a byte for each hit; the id of the process that waits; the signal to continue; the points reached."""

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.crash.preload"])
_server_pid: int | None = None


@dataclass(frozen=True)
class Trigger:
    """Kills the process at the `hit`-th time that any process with the same folder reaches the point.

    hand_over: the process waits instead, until the harness has arranged what happens next, and goes on. It is
    killed then if its next request should get no answer. skip_s: by how much later it is then for its clocks.
    """

    point: FaultPoint
    timing: FaultTiming
    hit: int
    folder: Path
    hand_over: bool
    skip_s: float = 0.0

    def __call__(self, point: FaultPoint, timing: FaultTiming) -> None:
        if (point, timing) != (self.point, self.timing):
            return
        with (self.folder / HITS).open("ab") as hits:
            hits.write(b".")
            hits.flush()
            count = hits.tell()
        if count != self.hit:
            return
        if not self.hand_over:
            os.kill(os.getpid(), signal.SIGKILL)
        unfinished = self.folder / "unfinished"
        unfinished.write_text(str(os.getpid()))
        unfinished.rename(self.folder / WAITING)
        while not (self.folder / GO).exists():
            time.sleep(0.005)
        if self.skip_s:
            _skip_time(self.skip_s)


@dataclass(frozen=True)
class Recorder:
    """Records each point that is reached, and kills nothing."""

    folder: Path

    def __call__(self, point: FaultPoint, timing: FaultTiming) -> None:
        with (self.folder / REACHED).open("a", encoding="utf-8") as reached:
            reached.write(f"{point}, {timing}\n")


class BotProcess:
    """A running `zoetrope <command> <arguments>`. Working directory and log are in `folder`.

    name: of the process, which begins with its command; also that of its log.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        environment: Mapping[str, str],
        hook: Hook | None = None,
        *,
        arguments: Sequence[str] = (),
    ) -> None:
        self._ended = asyncio.Event()
        command = [*name.split()[:1], *arguments]
        self._process: ForkServerProcess = _context.Process(
            target=_run, args=(command, name, folder, dict(environment), hook), daemon=True
        )
        self._process.start()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._process.sentinel, self._notice_end)

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """As `subprocess` says it: the signal's negative number for a process that was killed."""
        return self._process.exitcode

    async def wait(self) -> int:
        await self._ended.wait()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _notice_end(self) -> None:
        self._loop.remove_reader(self._process.sentinel)
        self._process.join()
        self._ended.set()


def start_server() -> None:
    """Starts the process that all others are forked from, and waits until it has imported everything."""
    global _server_pid  # noqa: PLW0603 - one process has one server
    answer, question = _context.Pipe(duplex=False)
    probe = _context.Process(target=_check_preload, args=(question,))
    probe.start()
    _server_pid = answer.recv()
    probe.join()
    if _server_pid is None:
        raise RuntimeError("the fork server has threads, or did not import the program")


def cpu_s() -> float:
    """CPU seconds of this process, the fork server and all their processes that have ended. 0 without /proc."""
    total_s = 0.0
    for pid in filter(None, (os.getpid(), _server_pid)):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            total_s += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # utime to cstime, see proc(5)
    return total_s


def _check_preload(question: Connection) -> None:
    preload = sys.modules.get("tests.crash.preload")
    ok = preload is not None and os.getppid() == preload.PID and preload.THREADS == 1
    question.send(os.getppid() if ok else None)


def _run(command: list[str], name: str, folder: Path, environment: dict[str, str], hook: Hook | None) -> NoReturn:
    os.setsid()
    with (folder / f"{name}.log").open("ab") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    with ExitStack() as stack:
        if hook is not None:
            stack.enter_context(watched(hook))
            # A decoder process for each picture takes longer than all the rest of an order.
            stack.enter_context(
                replaced(VideoService, VideoService.__init__, _init_with_thread_decoder(VideoService.__init__))
            )
            if not isinstance(hook, Trigger) or hook.point is FaultPoint.EDIT_STATUS:
                # A task is over before a card would be edited the first time.
                stack.enter_context(replaced(StatusCards, StatusCards.__init__, _init_eager(StatusCards.__init__)))
                stack.enter_context(replaced(StatusCard, StatusCard.replaces, _replaces_at_once))
        sys.exit(main(command))


def _skip_time(seconds: float) -> None:
    """Sets the process's steady clocks forward, as they are after it was stopped for so long."""
    monotonic, clock_gettime = time.monotonic, time.clock_gettime
    later: dict[str, Callable[..., float]] = {
        "monotonic": lambda: monotonic() + seconds,
        "clock_gettime": lambda clock: clock_gettime(clock) + seconds,
    }
    for name, function in later.items():
        setattr(time, name, function)


def _init_with_thread_decoder(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def init_with_decoder(*args: Any, **kwargs: Any) -> None:
        init(*args, **kwargs | {"prepare_first_frame": _prepare_in_thread})

    return init_with_decoder


def _init_eager(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def init_with_interval(*args: Any, **kwargs: Any) -> None:
        init(*args, **kwargs | {"interval_s": 0.25})

    return init_with_interval


def _replaces_at_once(card: StatusCard, shown: StatusCard, _shown_for: timedelta) -> bool:
    return card.is_news(shown)


async def _prepare_in_thread(data: bytes, limits: PictureLimits) -> PreparedFrame:
    return await asyncio.to_thread(prepare_first_frame, data, limits)
