import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from bot.__main__ import main
from tests.isolation import clear_settings, isolated_logging

ROOT = Path(__file__).parents[1]
KEYS = {"DISCORD_TOKEN": "token-of-the-bot", "VTRIX_API_KEY": "key-of-the-gateway"}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder without `.env`, an environment without settings."""
    monkeypatch.chdir(tmp_path)
    clear_settings(monkeypatch)
    with isolated_logging():
        yield tmp_path


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def test_the_version_is_the_installed_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"zoetrope {metadata.version('zoetrope')}\n"


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_help_and_version_are_printed_without_loading_any_heavy_library(option: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "bot", option]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert imported.isdisjoint({"asyncio", "discord", "sqlalchemy", "pydantic", "PIL", "matplotlib"})


@pytest.mark.parametrize("command", ["run", "worker", "demo", "doctor", "db"])
def test_the_help_names_every_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert re.search(rf"^ +{command} ", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["run", "--fast"],
        ["db"],
        ["db", "drop"],
        ["db", "backup"],
        ["db", "restore"],
        ["db", "check-backup"],
        ["db", "copy", "sqlite:///a.db"],
        ["demo", "--port", "x"],
        ["demo", "--port", "-1"],
        ["demo", "--port", "65536"],
        ["demo", "--resolution", "4K"],
    ],
)
def test_wrong_usage_shows_the_usage_and_exits_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: zoetrope")


@pytest.mark.parametrize("command", [["run"], ["worker"], ["doctor"]])
def test_missing_settings_give_a_line_each_and_exit_code_2(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [
        "zoetrope: DISCORD_TOKEN is missing. Expected: the bot's token from the Discord developer portal.",
        (
            "zoetrope: VTRIX_API_KEY is missing. "
            "Expected: your API key for the Vtrix gateway, or PROVIDERS without `vtrix`."
        ),
        "zoetrope: Fix this in the environment or in `.env`. `.env.example` explains each setting.",
    ]
    assert not shown.out


@pytest.mark.usefixtures("keys")
def test_malformed_settings_give_a_line_each_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UPSTREAM_MAX_RUNNING", "many")
    monkeypatch.setenv("DATABASE_URL", "mysql://me:hunter2@host/name")
    assert main(["run"]) == 2
    database, running, _ = capsys.readouterr().err.splitlines()
    assert running.startswith("zoetrope: UPSTREAM_MAX_RUNNING is invalid: ")
    assert running.endswith("Expected: how many tasks may run at once, 1 to 20000.")
    assert database.startswith("zoetrope: DATABASE_URL is invalid: ")
    assert "hunter2" not in database


@pytest.mark.usefixtures("keys")
def test_conflicting_settings_are_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POLL_MIN_SECONDS", "100")
    assert main(["run"]) == 2
    assert "POLL_MAX_SECONDS is smaller than POLL_MIN_SECONDS" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "doctor"])
@pytest.mark.usefixtures("keys")
def test_a_malformed_discord_url_is_reported_with_the_other_invalid_settings(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DISCORD_API_URL", "http://127.0.0.1:9/api/v9")
    monkeypatch.setenv("DISCORD_GATEWAY_URL", "ws://127.0.0.1:9/?v=10")
    monkeypatch.setenv("QUOTA_RUNNING", "0")
    assert main([command]) == 2
    shown = capsys.readouterr()
    named = [line.split()[1] for line in shown.err.splitlines()[:-1]]
    assert named == ["DISCORD_API_URL", "DISCORD_GATEWAY_URL", "QUOTA_RUNNING"]
    assert not shown.out


def test_an_unreadable_dotenv_file_is_reported_in_one_line(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty_folder / ".env").write_bytes(b"\xff")
    assert main(["run"]) == 2
    assert capsys.readouterr().err.startswith("zoetrope: The file `.env` can't be read")


def test_a_malformed_database_url_is_an_invalid_setting_for_db_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://me:hunter2@host/name")
    assert main(["db", "status"]) == 2
    line, _ = capsys.readouterr().err.splitlines()
    assert line.startswith("zoetrope: DATABASE_URL is invalid: ")


def test_a_file_that_is_not_a_database_gives_one_line_and_exit_code_1(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty_folder / "data").mkdir()
    (empty_folder / "data" / "zoetrope.db").write_bytes(b"no database at all" * 100)
    assert main(["db", "status"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("FAIL database: The database file ")
    assert "is not a SQLite database" in line


def test_the_schema_is_upgraded_and_its_status_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["db", "status"]) == 0
    assert main(["db", "upgrade"]) == 0
    before, after = capsys.readouterr().out.splitlines()
    assert "does not exist yet" in before
    assert after == "ok   database: reachable and up to date."


def test_checking_the_status_creates_no_database(empty_folder: Path) -> None:
    assert main(["db", "status"]) == 0
    assert list(empty_folder.iterdir()) == []


def test_a_real_process_ends_with_readable_lines_and_no_traceback(empty_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bot", "run"],
        env={**os.environ, "DISCORD_TOKEN": "short", "PYTHONPATH": str(ROOT)},
        cwd=empty_folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert not done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("zoetrope: ") for line in lines)
    assert "DISCORD_TOKEN is invalid: it is too short." in lines[0]


@pytest.mark.parametrize(("encoding", "name"), [("ascii", b"\xc3\xbc.db"), ("utf-8", b"\xff.db")])
def test_a_name_that_the_output_can_not_show_ends_no_command(
    encoding: str, name: bytes, empty_folder: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    assert main(["db", "upgrade"]) == 0
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "bot", "db", "backup", name],
        env=environment,
        cwd=empty_folder,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"ok   backup: ")


def test_the_readme_installs_the_program_before_it_runs_it() -> None:
    steps = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Host it")[2]
    assert 0 <= steps.find("make install") < steps.find(".venv/bin/zoetrope")
