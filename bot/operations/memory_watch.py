"""Notices when the process runs out of memory again and again.

Each loop survives its errors and tries again; but after a few MemoryErrors nobody knows which of its parts still
work, and a restart is better than a bot that is half alive. All errors are logged, so a log handler sees them.
"""

import errno
import logging
import time
from collections import deque
from collections.abc import Callable

TIMES, WITHIN_S = 3, 60.0
"""So many errors within this time are no coincidence."""


class MemoryWatch(logging.Handler):
    """Counts logged errors that come from a lack of memory."""

    def __init__(self, on_exhausted: Callable[[], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        """on_exhausted: called in the thread that logs an error too many. clock: in seconds."""
        super().__init__(logging.WARNING)
        self._on_exhausted = on_exhausted
        self._clock = clock
        self._times_s: deque[float] = deque(maxlen=TIMES)

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None or not is_out_of_memory(error):
            return
        now_s = self._clock()
        self._times_s.append(now_s)
        if len(self._times_s) == TIMES and now_s - self._times_s[0] <= WITHIN_S:
            self._on_exhausted()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this error, or one that led to it, is a lack of memory; a thread that can't start is one, too."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(is_out_of_memory, error.exceptions))
    if (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and "new thread" in str(error))
    ):
        return True
    led_to_it = error.__cause__ or error.__context__
    return led_to_it is not None and is_out_of_memory(led_to_it)
