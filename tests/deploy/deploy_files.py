"""Reads the files that put the bot on a host: Dockerfile, compose files and systemd units."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped] # PyYAML has no types

from bot.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SETTINGS = {name.upper() for name in Settings.model_fields}
GRACE_S = float(Settings.model_fields["shutdown_grace_seconds"].default)
POSTGRES_ADDRESS = "postgresql://zoetrope:secret@postgres/zoetrope"


@dataclass(frozen=True)
class Instruction:
    """A line of a Dockerfile, with its continuations: `name` in capitals, `value` without line breaks."""

    name: str
    value: str


def dockerfile() -> list[list[Instruction]]:
    """The instructions of each stage, without what stands before the first `FROM`."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    stages: list[list[Instruction]] = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        name, _, value = line.strip().partition(" ")
        if name == "FROM":
            stages.append([])
        if name and stages:
            stages[-1].append(Instruction(name, value))
    return stages


def values(stage: list[Instruction], name: str) -> list[str]:
    """What a stage says in its instructions of this name."""
    return [instruction.value for instruction in stage if instruction.name == name]


def image_environment() -> dict[str, str]:
    """The variables that the image sets."""
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(values(dockerfile()[-1], "ENV"))))


def compose(name: str) -> dict[str, dict[str, Any]]:
    """The services of a compose file, with its anchors resolved."""
    services: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))["services"]
    return services


def seconds(duration: str) -> int:
    """A duration as compose writes it, such as `100s`."""
    assert re.fullmatch(r"\d+s", duration)
    return int(duration[:-1])


def unit(name: str) -> dict[str, list[str]]:
    """The directives of a unit's `[Service]`, each with its values in order."""
    text = (DEPLOY / name).read_text(encoding="utf-8")
    section = re.search(r"^\[Service\]\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    found: dict[str, list[str]] = {}
    for line in section[1].splitlines():
        if line and not line.startswith("#"):
            directive, _, value = line.partition("=")
            found.setdefault(directive, []).append(value)
    return found
