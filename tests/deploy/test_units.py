"""What the systemd units promise, and that the guides show them as they are."""

import re
from pathlib import Path

import pytest

from bot.__main__ import MISUSED, main
from tests.deploy.deploy_files import DEPLOY, GRACE_S, ROOT, SETTINGS, unit

UNITS = ["zoetrope.service", "zoetrope-worker@.service"]
ON_OR_STRICT = {
    "LockPersonality": "true", "MemoryDenyWriteExecute": "true", "NoNewPrivileges": "true",
    "PrivateDevices": "true", "PrivateTmp": "true", "PrivateUsers": "true", "ProtectClock": "true",
    "ProtectControlGroups": "true", "ProtectHome": "true", "ProtectHostname": "true",
    "ProtectKernelLogs": "true", "ProtectKernelModules": "true", "ProtectKernelTunables": "true",
    "ProtectProc": "invisible", "ProtectSystem": "strict", "RestrictNamespaces": "true",
    "RestrictRealtime": "true", "RestrictSUIDSGID": "true", "SystemCallArchitectures": "native",
    "CapabilityBoundingSet": "", "UMask": "0077", "LimitCORE": "0",
}  # fmt: skip
LANDLOCK = {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"}
OWN = {"ExecStart", "Environment", "EnvironmentFile"}
"""Where a worker differs from the bot."""


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_starts_a_command_that_exists(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (start,) = unit(name)["ExecStart"]
    program, *arguments = start.split()
    assert program == "/opt/zoetrope/.venv/bin/zoetrope"
    with pytest.raises(SystemExit) as exited:
        main([*arguments, "--help"])
    assert exited.value.code == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_runs_as_its_own_user_and_is_hardened(name: str) -> None:
    directives = unit(name)
    assert directives["User"] == ["zoetrope"]
    assert {key: directives.get(key) for key in ON_OR_STRICT} == {
        key: [value] for key, value in ON_OR_STRICT.items()
    }


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_lets_the_bot_confine_its_decoders(name: str) -> None:
    directives = unit(name)
    allowed, denied, again = directives["SystemCallFilter"]
    assert LANDLOCK | {"@system-service"} == set(allowed.split())
    assert denied == "~@privileged @resources"
    assert {"setrlimit", "prlimit64"} == set(again.split()), "limits on memory and time"
    assert directives["SystemCallErrorNumber"] == ["EPERM"], "libraries try other calls, and aren't killed"
    assert "AF_UNIX" in directives["RestrictAddressFamilies"][0].split(), "decoders are spoken to by socket pairs"


@pytest.mark.parametrize("name", UNITS)
def test_a_decoder_that_runs_out_of_memory_does_not_stop_the_bot(name: str) -> None:
    assert unit(name)["OOMPolicy"] == ["continue"]


@pytest.mark.parametrize("name", UNITS)
def test_a_stop_waits_longer_than_the_bot_needs_and_wrong_settings_are_not_tried_again(name: str) -> None:
    directives = unit(name)
    assert float(directives["TimeoutStopSec"][0]) > GRACE_S
    assert directives["Restart"] == ["on-failure"]
    assert directives["RestartPreventExitStatus"] == [str(MISUSED)]


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_sets_only_what_is_a_setting_and_no_secret(name: str) -> None:
    names = {value.partition("=")[0] for value in unit(name).get("Environment", [])}
    assert names <= SETTINGS & {"DATABASE_URL"}


def test_a_worker_differs_from_the_bot_in_nothing_but_its_command_and_settings() -> None:
    bot, worker = ({key: value for key, value in unit(name).items() if key not in OWN} for name in UNITS)
    assert worker == bot


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_no_page_repeats_a_unit_that_is_a_file() -> None:
    assert [page.name for page in PAGES if re.search(r"^ExecStart=", page.read_text("utf-8"), re.MULTILINE)] == []


@pytest.mark.parametrize("path", sorted(DEPLOY.iterdir()), ids=lambda path: path.name)
def test_every_file_for_hosts_is_named_in_the_documentation_or_used_by_another(path: Path) -> None:
    others = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "Dockerfile", *DEPLOY.glob("*.sh"), *DEPLOY.glob("*.yml")]
    assert [other.name for other in others if other != path and path.name in other.read_text("utf-8")]
