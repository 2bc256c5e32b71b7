"""Isolates tests that start the real program from the other tests in this process."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bot.settings import Settings


def clear_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes all settings, and other variables that may hold a password, from the environment for one test."""
    for name in list(os.environ):
        if name.lower() in Settings.model_fields or name.lower().endswith("_proxy") or name == "PGPASSWORD":
            monkeypatch.delenv(name)


@contextmanager
def isolated_logging() -> Iterator[None]:
    """Restores what starting the program replaces: the logging setup, with pytest's handlers, and the umask."""
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
