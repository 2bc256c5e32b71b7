"""Sets up logging, and what else the process says. One rule stands above the format: no secret is ever shown.

So not only log lines are cleaned but all that is written to standard output and standard error: a traceback at
the end, what `logging` says of a broken log call, the lines of `zoetrope doctor`.
"""

import logging
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from bot.operations.redaction import Redactor

_CHATTY_AT_DEBUG = ("discord", "aiosqlite", "asyncio", "PIL", "aiohttp")
_CHATTY_AT_INFO = ("sqlalchemy.engine", "alembic")
"""At INFO, SQLAlchemy's engine writes every statement."""

_CHATTY_AT_WARNING = ("discord.client", "discord.state")
"""At each start, discord.py warns that there is no voice and few intents, which is meant so. Rate limits and the
connection speak through other loggers of its."""

_LEAST = {
    logging.INFO: _CHATTY_AT_DEBUG,
    logging.WARNING: _CHATTY_AT_INFO,
    logging.ERROR: _CHATTY_AT_WARNING,
}

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
"""Servers are named by strangers, and errors worded by other machines."""


class RedactingFormatter(logging.Formatter):
    """Formats as usual, then takes the secrets out of the finished text, tracebacks included."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__("{asctime} {levelname:<7} {name}: {message}", style="{")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """The record as one text without secrets, and without what would move a terminal's cursor."""
        return self._redact(super().format(record)).translate(_CONTROL)


class RedactedStream:
    """Standard output or error with each text cleaned before it is written; all else is `inner`'s."""

    def __init__(self, inner: TextIO, redact: Redactor) -> None:
        self.inner = inner
        self._redact = redact

    def write(self, text: str) -> int:
        """Writes the text without secrets."""
        self.inner.write(self._redact(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes each line without secrets."""
        for line in lines:
            self.write(line)

    def __iter__(self) -> Iterator[str]:
        return iter(self.inner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def set_up(level: str, secrets: Iterable[str] = (), *, stream: TextIO | None = None) -> None:
    """Sends all logs to `stream` (standard error), from `level` up; takes `secrets` out of all that is written.

    Some libraries log requests at DEBUG with headers and bodies, or speak at each start of what is well; they
    stay above that.
    """
    redact = Redactor(secrets)
    _redact_standard_streams(redact)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(RedactingFormatter(redact))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for least, names in _LEAST.items():
        for name in names:
            logging.getLogger(name).setLevel(max(least, logging.getLevelName(level)))
    logging.captureWarnings(capture=True)


def _redact_standard_streams(redact: Redactor) -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        inner = stream.inner if isinstance(stream, RedactedStream) else stream
        if inner is not None:  # as under pythonw, or where it was closed before the start
            setattr(sys, name, RedactedStream(inner, redact))
