"""Sets up logging. One rule stands above the format: a secret never reaches a line, wherever it came from."""

import logging
import sys
from collections.abc import Iterable
from typing import TextIO

_HIDDEN = "[secret]"


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

    The libraries below log requests at DEBUG with headers and bodies; they stay at INFO.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(RedactingFormatter(secrets))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("discord", "aiosqlite", "asyncio", "sqlalchemy.engine", "PIL", "alembic", "aiohttp"):
        logging.getLogger(chatty).setLevel(max(logging.INFO, logging.getLevelName(level)))
    logging.getLogger("discord.client").setLevel(max(logging.WARNING, logging.getLevelName(level)))
    logging.captureWarnings(capture=True)
