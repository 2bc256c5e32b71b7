"""Isolates tests that start the real program from the other tests in this process."""

import ctypes
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bot.settings import Settings

DROP_BOUND, OVERRIDE_RIGHTS, SEARCH_ALL = 24, 1, 2
"""From prctl(2) and capabilities(7): the capabilities that let root ignore file permissions."""


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


def honour_file_modes() -> None:
    """Makes a process that is about to start obey file permissions even when it runs as root."""
    libc = ctypes.CDLL(None)
    for capability in (OVERRIDE_RIGHTS, SEARCH_ALL):
        libc.prctl(DROP_BOUND, capability, 0, 0, 0)
