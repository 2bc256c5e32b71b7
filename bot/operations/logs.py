"""Sets up logging and keeps secrets out of everything the process writes.

Log lines are not enough: a final traceback, `logging`'s own complaint about a broken call and the lines of
`zoetrope doctor` go to standard output or standard error, so both streams are redacted too.
"""

import logging
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from bot.operations.redaction import Redactor

_MINIMUM_LEVELS = {
    # At DEBUG, these log headers and bodies.
    logging.INFO: ("discord", "aiosqlite", "asyncio", "PIL", "aiohttp"),
    # At INFO, SQLAlchemy's engine logs every statement.
    logging.WARNING: ("sqlalchemy.engine", "alembic"),
    # discord.py warns at every start about missing voice support and intents, both intended. Rate limits and the
    # connection use other loggers.
    logging.ERROR: ("discord.client", "discord.state"),
}

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
"""Server names and remote error texts are untrusted; control characters are shown escaped."""


class RedactingFormatter(logging.Formatter):
    """Formats as usual, then redacts the finished text, tracebacks included."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__("{asctime} {levelname:<7} {name}: {message}", style="{")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, without secrets and without terminal control characters."""
        return self._redact(super().format(record)).translate(_CONTROL)


class RedactedStream:
    """Wraps standard output or error and redacts each write; everything else is passed on to `inner`."""

    def __init__(self, inner: TextIO, redact: Redactor) -> None:
        self.inner = inner
        self._redact = redact

    def write(self, text: str) -> int:
        """Writes the redacted text."""
        self.inner.write(self._redact(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes each line redacted."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def set_up(level: str, secrets: Iterable[str] = (), *, stream: TextIO | None = None) -> None:
    """Sends all logs from `level` up to `stream` (default: standard error) and redacts `secrets` everywhere.

    Libraries that log headers and bodies at DEBUG, or routine news at each start, keep a higher minimum level.
    """
    redact = Redactor(secrets)
    _redact_standard_streams(redact)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(RedactingFormatter(redact))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for minimum, names in _MINIMUM_LEVELS.items():
        for name in names:
            logging.getLogger(name).setLevel(max(minimum, logging.getLevelName(level)))
    logging.captureWarnings(capture=True)


def _redact_standard_streams(redact: Redactor) -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        inner = stream.inner if isinstance(stream, RedactedStream) else stream
        if inner is not None:  # None under pythonw, or when closed before the start
            setattr(sys, name, RedactedStream(inner, redact))
