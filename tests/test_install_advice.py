"""What the program and its pages tell people to install: the clone, never a package of the same name."""

import re
import sys

import pytest

from bot.__main__ import main
from tests.isolation import isolated_logging
from tests.test_documentation import texts

# Zoetrope isn't on a package index; the package that is called so there is somebody else's.
FROM_AN_INDEX = re.compile(r"pip3? install [^`\n]*(?<![\w./-])zoetrope\b(?!/)")


def test_no_file_tells_anyone_to_install_zoetrope_from_a_package_index() -> None:
    assert [(name, match[0]) for name, text in texts() if (match := FROM_AN_INDEX.search(text))] == []


@pytest.mark.parametrize("advice", ["zoetrope", "zoetrope[postgres]", "'zoetrope[demo]'", "--upgrade zoetrope"])
def test_such_advice_would_be_found(advice: str) -> None:
    assert FROM_AN_INDEX.search("Run `pip install " + f"{advice}`.")


@pytest.mark.parametrize("advice", ["'.[postgres]'", "./zoetrope", "-r requirements/run.txt"])
def test_installing_a_clone_is_allowed(advice: str) -> None:
    assert not FROM_AN_INDEX.search("Run `pip install " + f"{advice}`.")


def test_a_missing_library_of_the_demo_is_reported_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "bot.demo", None)  # as if what it imports were missing
    with isolated_logging():
        assert main(["demo"]) == 1
    assert "`make demo`, or `pip install '.[demo]'`" in capsys.readouterr().err
