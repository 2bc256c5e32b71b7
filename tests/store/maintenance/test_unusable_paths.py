"""Paths that the system can't look up, in `DATABASE_URL` and as arguments of `zoetrope db`: one line each."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.__main__ import main
from tests.isolation import clear_settings, isolated_logging

TOO_LONG = f"{'x' * 300}.db"
SIDE_FILE_TOO_LONG = f"{'x' * 250}.db"
LOOP = "loop.db"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a database of the bot's and a link that leads to itself."""
    monkeypatch.chdir(tmp_path)
    clear_settings(monkeypatch)
    monkeypatch.setenv("DATABASE_URL", "sqlite:///own.db")
    with isolated_logging():
        assert main(["db", "upgrade"]) == 0
        monkeypatch.setenv("DATABASE_URL", "sqlite:///own.db")  # a command keeps it from child processes
        (tmp_path / LOOP).symlink_to(LOOP)
        yield tmp_path


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    shown = capsys.readouterr()
    (line,) = [line for line in (shown.out + shown.err).splitlines() if not line.startswith("ok ")]
    return line


@pytest.mark.parametrize("path", [TOO_LONG, SIDE_FILE_TOO_LONG, LOOP])
@pytest.mark.parametrize("action", [["status"], ["upgrade"], ["backup", "new.db"], ["restore", "own.db"]])
def test_an_unusable_path_in_the_setting_is_one_line(
    path: str, action: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{path}")
    capsys.readouterr()
    assert main(["db", *action]) == 1
    assert path in only_line(capsys)


@pytest.mark.parametrize("path", [TOO_LONG, LOOP])
@pytest.mark.parametrize(
    "command",
    [
        ["backup", "{path}"],
        ["restore", "{path}"],
        ["check-backup", "{path}"],
        ["copy", "sqlite:///{path}", "sqlite:///new.db"],
        ["copy", "sqlite:///own.db", "sqlite:///{path}"],
    ],
)
def test_an_unusable_path_as_an_argument_is_one_line(
    path: str, command: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["db", *(part.format(path=path) for part in command)]) == 1
    assert f"{path} can't be used: " in only_line(capsys)
    assert not (folder / "new.db").exists()


def test_a_name_that_leaves_no_room_for_the_copy_before_an_upgrade_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = folder / f"{'x' * 240}.db"
    (folder / "own.db").rename(long)
    with sqlite3.connect(long) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0019'")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{long}")
    capsys.readouterr()
    assert main(["db", "upgrade"]) == 1
    assert "before-upgrade.db can't be used: " in only_line(capsys)


@pytest.mark.parametrize("url", ["sqlite:///own%00.db", "postgresql://user:p%00w@127.0.0.1/name"])
def test_a_nul_character_in_a_url_is_one_line(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["db", "copy", "sqlite:///own.db", url]) == 1
    assert only_line(capsys) == ("zoetrope: The URL of the target is invalid: it contains a NUL character, `%00`.")

    monkeypatch.setenv("DATABASE_URL", url)
    assert main(["db", "upgrade"]) == 2
    first, _ = capsys.readouterr().err.splitlines()
    assert first.startswith("zoetrope: DATABASE_URL is invalid: it contains a NUL character, `%00`.")
