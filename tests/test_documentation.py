"""Compares the documentation with what the program does."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError

from bot.settings import GivenSettings, Settings
from bot.store.maintenance import schema_version

ROOT = Path(__file__).parents[1]
KEYS = {"discord_token": "token-of-the-bot", "vtrix_api_key": "key-of-the-gateway"}
NONE: tuple[object, ...] = (None, ())
FOREIGN_FOLDERS = {"data", "dist", "build", "node_modules", "__pycache__"}

# In pieces, so that this file does not name what it forbids.
REGISTRIES = re.compile("|".join(rf"\b{name}\.{end}\b" for name, end in [
    ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("anaconda", "org"),
]))  # fmt: skip
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:home|Users|root|work)/\w|\b[A-Z]:\\+Users\\")


def env_example() -> list[tuple[str, str, bool]]:
    """Each setting in `.env.example`: its name, its value, whether it is commented out."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    found = [re.fullmatch(r"(#?)([A-Z][A-Z0-9_]*)=(.*)", line) for line in lines]
    return [(match[2], match[3], bool(match[1])) for match in found if match is not None]


def settings_table() -> dict[str, tuple[str, str]]:
    """Each setting in the table of docs/operating.md: its default and what it takes."""
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z][A-Z0-9_]*)` \| (.+?) \| (.+?) \| .+ \|$", text, re.MULTILINE)
    return {name: (default.strip("`"), takes) for name, default, takes in rows}


def default_of(name: str) -> object:
    return Settings.model_fields[name.lower()].default


def read_as(name: str, value: str) -> object:
    """The value that the settings read from this text."""
    return getattr(GivenSettings.model_validate({**KEYS, name.lower(): value}), name.lower())


def missing_by_default() -> list[str]:
    """The settings without which nothing starts."""
    with pytest.raises(ValidationError) as caught:
        GivenSettings()
    return [str(detail["loc"][0]).upper() for detail in caught.value.errors() if detail["type"] == "missing"]


SETTINGS = [name.upper() for name in Settings.model_fields]
REQUIRED = missing_by_default()
OPTIONAL = [name for name in SETTINGS if name not in REQUIRED]


def test_the_example_names_every_setting_once_and_nothing_else() -> None:
    assert sorted(name for name, _, _ in env_example()) == sorted(SETTINGS)


def test_the_example_leaves_only_required_settings_to_fill_in() -> None:
    assert [(name, value) for name, value, commented in env_example() if not commented] == [
        (name, "") for name in REQUIRED
    ]


@pytest.mark.parametrize("name", OPTIONAL)
def test_the_example_shows_the_default(name: str) -> None:
    (value,) = [value for known, value, _ in env_example() if known == name]
    if default_of(name) in NONE and value != "none":
        assert not value
    else:
        assert read_as(name, value) == default_of(name)


def test_the_example_explains_each_group_of_settings() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    for above, line in pairwise(lines):
        if re.match(r"#?[A-Z0-9_]+=", line):
            assert above, f"no comment above {line}"


def test_the_operators_table_names_every_setting_and_nothing_else() -> None:
    assert sorted(settings_table()) == sorted(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_operators_table_shows_the_default(name: str) -> None:
    shown, _ = settings_table()[name]
    if name in REQUIRED:
        assert shown == "required"
    elif default_of(name) in NONE:
        assert shown == "none"
    else:
        assert read_as(name, shown) == default_of(name)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_operators_table_has_the_description_of_each_setting(name: str) -> None:
    _, takes = settings_table()[name]
    assert takes == Settings.model_fields[name.lower()].description


def test_every_name_in_capitals_in_the_operators_page_is_a_setting() -> None:
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`([A-Z]+_[A-Z_]+)`", text)) <= set(SETTINGS)


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_names_the_two_commands(command: str) -> None:
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")


def named_tests(text: str) -> set[str]:
    """Each test file that a text names, with the test in it where one is named."""
    return set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", text))


def exists(named: str) -> bool:
    name, _, test = named.partition("::")
    path = ROOT / name
    if not path.is_file() or not test:
        return path.is_file() and not test
    return re.search(rf"^ *(async )?def {test}\(", path.read_text(encoding="utf-8"), re.MULTILINE) is not None


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    assert [named for named in sorted(named_tests(page.read_text(encoding="utf-8"))) if not exists(named)] == []


@pytest.mark.parametrize(
    "named", ["tests/gone.py", "tests/gone.py::test_it", "tests/test_documentation.py::test_gone"]
)
def test_a_missing_test_would_be_noticed(named: str) -> None:
    assert named_tests(f"proved by `{named}`.") == {named}
    assert not exists(named)


def test_every_threat_names_a_test() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 10
    assert [row for row in rows if not named_tests(row.rpartition(" | ")[2])] == []


def untested(page: str) -> list[str]:
    """The rows of the fault tables whose last cell names neither a test nor a placeholder for one."""
    rows = [line for line in page.splitlines() if line.startswith("|") and not re.match(r"\| fault \||\|-", line)]
    placeholder = re.compile(r"`(?:make crash|[MOP])`|the same\b")
    return [row for row in rows if not named_tests(held := row.split("|")[-2]) and not placeholder.search(held)]


def test_every_fault_names_a_test() -> None:
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    assert page.count("\n|") > 50
    assert untested(page) == []
    assert untested("| fault | held by |\n|---|---|\n| fire | – |") == ["| fire | – |"]


UPGRADES = (ROOT / "docs" / "upgrading.md").read_text(encoding="utf-8")
STEPS = dict(re.findall(r"^\| (\d{4}) \| .+ \| (yes|no) \|$", UPGRADES, re.MULTILINE))


def test_the_upgrade_notes_have_a_line_for_each_migration() -> None:
    assert tuple(STEPS) == schema_version.revisions()


@pytest.mark.parametrize("step", [step for step, together in STEPS.items() if together == "yes"])
def test_what_earlier_processes_can_live_with_removes_and_renames_nothing(step: str) -> None:
    [migration] = (ROOT / "bot" / "store" / "migrations" / "versions").glob(f"v{step}_*.py")
    changes = re.findall(r"drop_table|drop_column|(?i:rename)|alter_column|batch_alter", migration.read_text())
    assert changes == []


def texts() -> Iterator[tuple[str, str]]:
    """Every text file of the project, with its path."""
    folders = [ROOT]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            if path.is_symlink() or path.name in FOREIGN_FOLDERS or (path / "pyvenv.cfg").exists():
                continue
            if path.is_dir() and (not path.name.startswith(".") or path.name in {".ci", ".github"}):
                folders.append(path)
            if path.is_file() and path.name not in {".env", ".git"}:  # a worktree's .git is a file
                try:
                    yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
                except UnicodeDecodeError:
                    continue  # a picture


@pytest.mark.parametrize("forbidden", [REGISTRIES, MACHINE_PATHS], ids=["registry", "machine path"])
def test_no_file_names_a_package_registry_or_a_path_of_one_machine(forbidden: re.Pattern[str]) -> None:
    assert [(name, match[0]) for name, text in texts() if (match := forbidden.search(text))] == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (REGISTRIES, "--index-url https://" + "pypi" + ".org/simple"),
        (REGISTRIES, "https://files.pythonhosted" + ".org/x"),
        (MACHINE_PATHS, "cd /" + "home/me/zoetrope"),
        (MACHINE_PATHS, '"/' + "Users/me"),
        (MACHINE_PATHS, "C:" + "\\Users\\me"),
    ],
)
def test_a_forbidden_text_would_be_found(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.search(text)


def test_the_search_reads_code_tests_and_requirements() -> None:
    read = {name for name, _ in texts()}
    assert {"bot/app.py", "tests/test_documentation.py", "requirements/run.txt", ".env.example"} <= read
