"""Checks what is published with the source: no keys, no metadata in pictures, a CI without permissions."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.test_documentation import FOREIGN_FOLDERS, texts

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
PICTURES = sorted(
    path
    for folder in ("docs", "tests", "bot", "cogs")
    for path in (ROOT / folder).rglob("*")
    if path.suffix.lower() in {".png", ".jpg", ".jpeg", ".gif", ".webp"} and not FOREIGN_FOLDERS & set(path.parts)
)
METADATA_SAMPLES = {"exif_text.png", "moving.gif", *(f"orientation_{number}.jpg" for number in range(1, 9))}
HARMLESS = {
    "icc_profile",
    "dpi",
    "jfif",
    "jfif_version",
    "jfif_unit",
    "jfif_density",
    "progressive",
    "progression",
}
HARMLESS |= {"adobe", "adobe_transform", "transparency", "gamma", "srgb", "interlace", "version", "background"}
HARMLESS |= {"duration", "loop", "extension", "timestamp", "aspect", "chromaticity", "default_image"}
HARMLESS |= {"date:create", "date:modify"}  # when the tests' picture was made

# In pieces where they would find themselves.
KEYS = {
    "a private key": re.compile("-----BEGIN [A-Z ]*PRIV" + "ATE KEY-----"),
    "a Discord token": re.compile(r"\b[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{38}\b"),
    "a forge's token": re.compile(r"\b(ghp|gho|ghs|github_pat|glpat)[_-][A-Za-z0-9_]{20,}"),
    "a cloud's key": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
}


def metadata(path: Path) -> dict[str, Any]:
    """What a picture contains besides its pixels."""
    with Image.open(path) as picture:
        picture.load()
        told = {str(name): value for name, value in picture.info.items() if name not in HARMLESS and value}
        return told | {str(tag): value for tag, value in picture.getexif().items()}


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_published_picture_contains_no_metadata(path: Path) -> None:
    if path.name in METADATA_SAMPLES:
        assert metadata(path), "it is here for its metadata"
    else:
        assert metadata(path) == {}


@pytest.mark.parametrize("page", ["README.md", "docs/tour.md", "docs/commands.md"])
def test_the_pictures_of_a_page_are_among_those_checked(page: str) -> None:
    path = ROOT / page
    named = re.findall(r"(?:\]\(|src=\")([\w/-]+\.(?:png|webp))", path.read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if path.parent / name not in PICTURES] == []


def test_every_picture_of_the_documentation_is_shown_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = "".join(path.read_text(encoding="utf-8") for path in pages)
    pictures = (ROOT / "docs" / "pictures").iterdir()
    assert [path.name for path in pictures if path.suffix != ".md" and f"pictures/{path.name}" not in shown] == []


@pytest.mark.parametrize("kind", KEYS)
def test_no_file_contains_a_key(kind: str) -> None:
    assert [name for name, text in texts() if KEYS[kind].search(text)] == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("a private key", "-----BEGIN RSA PRIV" + "ATE KEY-----"),
        ("a Discord token", "token=" + "M" + "a" * 23 + "." + "b" * 6 + "." + "c" * 38),
        ("a forge's token", "ghp" + "_" + "a" * 36),
        ("a cloud's key", "AKIA" + "A" * 16),
    ],
)
def test_a_key_would_be_found(kind: str, text: str) -> None:
    assert KEYS[kind].search(text)


def used_actions() -> Iterator[tuple[str, str]]:
    for path in WORKFLOWS:
        yield from ((path.name, used) for used in re.findall(r"uses:\s*(\S+)", path.read_text(encoding="utf-8")))


def test_every_action_is_pinned_to_a_commit() -> None:
    assert list(used_actions())
    assert [used for used in used_actions() if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", used[1])] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_the_source(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^ *permissions:.*(?:\n +.*)*", text, re.MULTILINE) == ["permissions:\n  contents: read"]
    assert "pull_request_target" not in text
    assert "secrets." not in text
    steps = re.split(r"^ +- ", text, flags=re.MULTILINE)
    assert all("persist-credentials: false" in step for step in steps if "actions/checkout@" in step)


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_and_hashed(path: Path) -> None:
    whole = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in whole.splitlines() if line.strip() and not line.startswith("#")]
    assert lines
    assert [line for line in lines if "==" not in line or "--hash=sha256:" not in line] == []


def test_every_installation_checks_hashes() -> None:
    installs = re.findall(r"pip install .*", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert installs
    assert [line for line in installs if "--require-hashes" not in line and "--editable ." not in line] == []
