"""Keeps a test that starts the program for real out of the way of the others in this process."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bot.settings import Settings


def forget_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes every setting out of the environment, and what else may hold a password there, for one test."""
    for name in list(os.environ):
        if name.lower() in Settings.model_fields or name.lower().endswith("_proxy") or name == "PGPASSWORD":
            monkeypatch.delenv(name)


@contextmanager
def own_logging() -> Iterator[None]:
    """Puts back what a start of the program replaces: the logging, whose handlers are pytest's, and the umask."""
    streams = sys.stdout, sys.stderr
    root = logging.getLogger()
    handlers, root_level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in list(root.manager.loggerDict)}
    root.handlers.clear()
    mask = os.umask(0o077)
    os.umask(mask)
    try:
        yield
    finally:
        os.umask(mask)
        logging.captureWarnings(capture=False)
        sys.stdout, sys.stderr = streams
        root.handlers[:] = handlers
        root.setLevel(root_level)
        for name in list(root.manager.loggerDict):
            logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
