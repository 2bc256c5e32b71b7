"""`zoetrope … --help` and `make help` say what each command does."""

import re
import subprocess
from pathlib import Path

import pytest

from bot.__main__ import main

ROOT = Path(__file__).parents[1]
COMMANDS = [
    ["run"], ["worker"], ["doctor"], ["demo"], ["db"],
    *(["db", action] for action in ("status", "upgrade", "backup", "restore", "restored")),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_of_a_command_says_what_it_does(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    usage, description, *_ = capsys.readouterr().out.split("\n\n")
    assert usage.startswith("usage: ")
    assert re.match(r"[A-Z][^:]*(: [^.]+)?\.", description.replace("\n", " ")), description


def test_make_help_lists_every_documented_target() -> None:
    documented = set(re.findall(r"^([\w-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    make = ["make", "--no-print-directory", "help"]
    listed = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603
    assert "test-all" in documented
    assert {line.split()[0] for line in listed.splitlines()} == documented
