"""Sets up logging and keeps secrets out of everything the process writes.

Log lines are not enough: a final traceback, `logging`'s own complaint about a broken call and the lines of
`zoetrope doctor` go to standard output or standard error, so both streams are redacted too.
"""

import codecs
import json
import logging
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TextIO

from bot.operations.log_context import job_of_line
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


_JSON_CONTROL = {code: f"\\u{code:04x}" for code in (*range(127, 160), 0x2028, 0x2029, *range(0xD800, 0xE000))}
"""What JSON lets through, though terminals obey it, programs take it for the end of a line, or UTF-8 has none."""


class RedactingFormatter(logging.Formatter):
    """Formats as usual, then redacts the finished text, tracebacks included. A line names its job."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__("{asctime} {levelname:<7} {name}: {message}", style="{")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, without secrets and without terminal control characters."""
        return self._redact(super().format(record)).translate(_CONTROL)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The line without its traceback, with the id of its job if it doesn't name that itself."""
        line, job_id = super().formatMessage(record), job_of_line(record.message)
        return line if job_id is None or job_id in record.message else f"{line} [job {job_id}]"


class JsonFormatter(logging.Formatter):
    """Formats each record as one JSON object on one line.

    Its fields: `timestamp` (UTC, ISO 8601), `level`, `logger`, `message`, `job` (an id, if it is about one) and
    `exception` (the traceback, if there is one). All text is redacted before it is quoted.
    """

    def __init__(self, redact: Redactor, *, in_ascii: bool = False) -> None:
        """in_ascii: escapes all other characters, for a stream without UTF-8: its own escapes aren't JSON's."""
        super().__init__()
        self._redact = redact
        self._in_ascii = in_ascii

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON, without secrets and without control characters."""
        message = record.getMessage()
        fields = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._redact(message),
        }
        if (job_id := job_of_line(message)) is not None:
            fields["job"] = job_id
        traces = [self.formatException(record.exc_info)] if record.exc_info else []
        if record.stack_info:
            traces.append(self.formatStack(record.stack_info))
        if traces:
            fields["exception"] = self._redact("\n".join(traces))
        return json.dumps(fields, ensure_ascii=self._in_ascii).translate(_JSON_CONTROL)


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


def set_up(
    level: str, secrets: Iterable[str] = (), *, log_format: str = "text", stream: TextIO | None = None
) -> None:
    """Sends all logs from `level` up to `stream` (default: standard error) and redacts `secrets` everywhere.

    log_format: `text`, or `json` for one JSON object a line.
    Libraries that log headers and bodies at DEBUG, or routine news at each start, keep a higher minimum level.
    """
    redact = Redactor(secrets)
    _redact_standard_streams(redact)
    # Redacted by its formatter: a second time could find a short password in the punctuation of JSON.
    handler = logging.StreamHandler(stream or _unwrapped(sys.stderr))
    handler.setFormatter(
        JsonFormatter(redact, in_ascii=not _takes_utf_8(handler.stream))
        if log_format == "json"
        else RedactingFormatter(redact)
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for minimum, names in _MINIMUM_LEVELS.items():
        for name in names:
            logging.getLogger(name).setLevel(max(minimum, logging.getLevelName(level)))
    logging.captureWarnings(capture=True)


def _takes_utf_8(stream: TextIO) -> bool:
    encoding: str | None = getattr(stream, "encoding", None)
    return encoding is None or codecs.lookup(encoding).name == "utf-8"


def _redact_standard_streams(redact: Redactor) -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        inner = _unwrapped(stream)
        if inner is not None:  # None under pythonw, or when closed before the start
            setattr(sys, name, RedactedStream(inner, redact))


def _unwrapped(stream: Any) -> Any:
    return stream.inner if isinstance(stream, RedactedStream) else stream
