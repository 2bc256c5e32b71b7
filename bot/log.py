"""Sets up logging. One rule stands above the format: a secret never reaches a line, wherever it came from."""

import logging
import sys
from collections.abc import Iterable
from typing import TextIO

_HIDDEN = "[secret]"
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


class RedactingFormatter(logging.Formatter):
    """Formats as usual, then takes the secrets out of the finished text, tracebacks included."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__("{asctime} {levelname:<7} {name}: {message}", style="{")
        # The longest first: one may be a part of another, whose rest would stay.
        self._secrets = sorted((secret for secret in secrets if secret), key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """The record as one text without secrets."""
        text = super().format(record)
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text


def set_up(level: str, secrets: Iterable[str] = (), *, stream: TextIO | None = None) -> None:
    """Sends all logs to `stream` (standard error), from `level` up.

    Some libraries log requests at DEBUG with headers and bodies, or speak at each start of what is well; they
    stay above that.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(RedactingFormatter(secrets))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for least, names in _LEAST.items():
        for name in names:
            logging.getLogger(name).setLevel(max(least, logging.getLevelName(level)))
    logging.captureWarnings(capture=True)
