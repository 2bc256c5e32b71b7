"""Settings as a process loads them."""

from pathlib import Path
from typing import Any

import pytest

from bot.domain.errors import SettingsError
from bot.settings import Settings
from tests.isolation import clear_settings

KEYS = {"DISCORD_TOKEN": "token-of-the-bot", "VTRIX_API_KEY": "key-of-the-gateway"}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without `.env`, an environment without settings."""
    monkeypatch.chdir(tmp_path)
    clear_settings(monkeypatch)
    return tmp_path


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    def with_environment(**given: str) -> Settings:
        for name, value in {**KEYS, **given}.items():
            monkeypatch.setenv(name, value)
        return Settings.load()

    return with_environment


def problems(load: Any, **given: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(**given)
    assert all("\n" not in problem for problem in caught.value.problems)
    return caught.value.problems
