"""Repeated lack of memory is noticed, whoever logs it and however it is wrapped."""

import errno
import logging
from collections.abc import Callable, Iterator

import pytest

from bot.operations.memory_watch import TIMES, WITHIN_S, MemoryWatch, is_out_of_memory


class Log:
    """A logger under watch, and a clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.exhausted = 0
        self.logger = logging.getLogger("tests.memory")
        self.watch = MemoryWatch(self._on_exhausted, clock=lambda: self.now_s)
        self.logger.addHandler(self.watch)

    def _on_exhausted(self) -> None:
        self.exhausted += 1

    def error(self, error: BaseException) -> None:
        self.logger.error("a step failed", exc_info=error)


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    yield log
    log.logger.removeHandler(log.watch)


def caused_by(cause: BaseException, *, implicitly: bool = False) -> Exception:
    """An error as it is after `raise … from cause`, or after a `raise` while the cause is handled."""
    error = ValueError("because of it")
    error.__context__ = cause
    error.__cause__ = None if implicitly else cause
    return error


LACKS: dict[str, Callable[[], BaseException]] = {
    "MemoryError": MemoryError,
    "ENOMEM": lambda: OSError(errno.ENOMEM, "Cannot allocate memory"),
    "no thread": lambda: RuntimeError("can't start new thread"),
    "as the cause": lambda: caused_by(MemoryError()),
    "as the context": lambda: caused_by(MemoryError(), implicitly=True),
    "in a group": lambda: ExceptionGroup("tasks", [ValueError(), MemoryError()]),
}


@pytest.mark.parametrize("lack", LACKS)
def test_the_third_within_a_minute_is_too_much(log: Log, lack: str) -> None:
    for _ in range(TIMES - 1):
        log.error(LACKS[lack]())
        log.now_s += 1
    assert log.exhausted == 0
    log.error(LACKS[lack]())
    assert log.exhausted == 1


def test_now_and_then_is_lived_through(log: Log) -> None:
    for _ in range(10):
        log.error(MemoryError())
        log.now_s += WITHIN_S
    assert log.exhausted == 0


@pytest.mark.parametrize("error", [ValueError(), OSError(errno.ENOSPC, "full"), RuntimeError("other")])
def test_other_errors_are_not_counted(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_lines_without_an_error_are_not_counted(log: Log) -> None:
    for _ in range(TIMES):
        log.logger.error("MemoryError, says somebody")
    assert log.exhausted == 0
