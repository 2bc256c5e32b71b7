import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.operations import process_hardening
from bot.operations.linux import ProcessOption, set_process_option

_GET_DUMPABLE = 3  # prctl(2)

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")


@pytest.fixture(autouse=True)
def restore_process_state() -> Iterator[None]:
    mask, limits = os.umask(0), resource.getrlimit(resource.RLIMIT_CORE)
    yield
    os.umask(mask)
    resource.setrlimit(resource.RLIMIT_CORE, limits)
    if sys.platform == "linux":
        set_process_option(ProcessOption.DUMPABLE, 1)


def create_file(path: Path, mode: int) -> Path:
    path.touch()
    path.chmod(mode)
    return path


def warnings_about(file: Path | None = None, *, dotenv: Path = Path("no such file")) -> list[str]:
    """The warnings, except for the one about root, since that depends on who runs the tests."""
    return [line for line in process_hardening.exposures(file, dotenv) if "as root" not in line]


def test_new_files_and_folders_are_private_to_the_user(tmp_path: Path) -> None:
    process_hardening.keep_private()
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    assert [(tmp_path / name).stat().st_mode & 0o077 for name in ("file", "folder")] == [0, 0]


def test_a_crash_leaves_no_core_file() -> None:
    process_hardening.keep_private()
    assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0


@linux_only
def test_nobody_but_root_can_read_the_memory() -> None:
    assert ctypes.CDLL(None).prctl(_GET_DUMPABLE, 0, 0, 0, 0) == 1

    process_hardening.keep_private()

    assert ctypes.CDLL(None).prctl(_GET_DUMPABLE, 0, 0, 0, 0) == 0


_SHOW_ENVIRONMENTS = """
import os, subprocess, sys
from bot.operations import process_hardening

process_hardening.forget_variables({"A_KEY", "ANOTHER", "UNSET"})
print(os.environ.get("a_key"), open("/proc/self/environ").read() if sys.platform == "linux" else "")
subprocess.run(["env"], check=True)
"""


def test_forgotten_variables_are_in_no_environment() -> None:
    path = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    given = path | {"a_key": "secret-1", "ANOTHER": "secret-2", "A_KEY_ID": "kept"}
    command = [sys.executable, "-c", _SHOW_ENVIRONMENTS]
    shown = subprocess.run(command, env=given, capture_output=True, check=True).stdout  # noqa: S603

    assert shown.count(b"kept") == (2 if sys.platform == "linux" else 1)
    assert b"secret" not in shown


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_dotenv_file_that_others_can_read_is_reported_with_the_fix(tmp_path: Path, mode: int) -> None:
    (line,) = warnings_about(dotenv=create_file(tmp_path / ".env", mode))
    assert "chmod 600 .env" in line


def test_private_files_are_not_reported(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert (
        warnings_about(create_file(tmp_path / "zoetrope.db", 0o600), dotenv=create_file(tmp_path / ".env", 0o600))
        == []
    )


def test_missing_files_are_not_reported(tmp_path: Path) -> None:
    assert warnings_about(tmp_path / "not" / "there.db") == []


def test_a_database_that_others_can_read_is_reported(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (line,) = warnings_about(create_file(tmp_path / "zoetrope.db", 0o640))
    assert f"chmod 600 {tmp_path / 'zoetrope.db'}*" in line


def test_a_folder_in_which_others_can_replace_the_database_is_reported(tmp_path: Path) -> None:
    file = create_file(tmp_path / "zoetrope.db", 0o600)
    tmp_path.chmod(0o770)
    (line,) = warnings_about(file)
    tmp_path.chmod(0o1777)
    assert f"chmod 700 {tmp_path}" in line
    assert warnings_about(file) == []


@pytest.mark.parametrize(("user_id", "problems"), [(0, 1), (1000, 0)])
def test_only_running_as_root_is_reported(monkeypatch: pytest.MonkeyPatch, user_id: int, problems: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user_id)
    assert len(list(process_hardening.exposures(None, Path("no such file")))) == problems
