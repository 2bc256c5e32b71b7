"""Keeps a test that starts the program for real out of the way of the others in this process."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bot.settings import Settings


def forget_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes every setting out of the environment, for one test."""
    for name in list(os.environ):
        if name.lower() in Settings.model_fields:
            monkeypatch.delenv(name)


@contextmanager
def own_logging() -> Iterator[None]:
    """Puts back what setting up the logging replaces; the handlers are pytest's."""
    root = logging.getLogger()
    handlers, root_level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in list(root.manager.loggerDict)}
    root.handlers.clear()
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:] = handlers
        root.setLevel(root_level)
        for name in list(root.manager.loggerDict):
            logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
