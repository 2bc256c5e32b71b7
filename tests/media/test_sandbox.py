"""What the processes that open untrusted files can still do, tried from inside."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache

import pytest

from bot.media import landlock, sandbox, seccomp
from bot.media.sandbox import Protection

confined = pytest.mark.skipif(
    not (landlock.abi() and seccomp.is_available()), reason="this system has no Landlock or no seccomp"
)

COMPUTING = {"start a thread", "allocate memory", "read its limits"}
ITS_FILES = {"read its source", "write its target"}

Probe = Callable[[str], dict[str, bool]]


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """What works under a restriction, see `sandbox_probe`; each is tried once."""

    @cache
    def run(how: str) -> dict[str, bool]:
        folder = tmp_path_factory.mktemp(how)
        for name in ("source", "target", "other"):
            (folder / name).write_bytes(b"content")
        command = sandbox.command_line("tests.media.sandbox_probe", how, str(folder))
        done = subprocess.run(command, env=sandbox.environment(), capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == 0, done.stderr
        results: dict[str, bool] = json.loads(done.stdout)
        return results

    return run


def works(results: dict[str, bool]) -> set[str]:
    return {name for name, worked in results.items() if worked}


@confined
def test_everything_that_is_tried_works_without_a_sandbox(probe: Probe) -> None:
    # Some systems let nobody look into other processes, or rename, and root alone may do the rest.
    unsure = {"read the bot's memory map", "open the bot's memory", "copy the bot's memory"}
    unsure |= {"copy its parent's memory"}
    assert set(probe("nothing")) - works(probe("nothing")) <= unsure


@confined
def test_what_forks_decoders_can_also_fork_and_limit_itself_and_nothing_else(probe: Probe) -> None:
    limiting = {"lift its own limits", "become readable to others", "stop its own clock"}
    assert works(probe("server")) == COMPUTING | limiting | {"start a process"}


@confined
def test_a_decoder_can_compute_and_nothing_else(probe: Probe) -> None:
    assert works(probe("decoder")) == COMPUTING


@confined
def test_an_encoder_can_compute_and_open_its_two_files_and_nothing_else(probe: Probe) -> None:
    assert works(probe("encoder")) == COMPUTING | ITS_FILES


@confined
@pytest.mark.parametrize(
    "attempt",
    [
        "read another file", "read a file of the system", "list a folder", "write to its source", "create a file",
        "make a link", "read the bot's environment", "read the bot's memory map", "open the bot's memory",
        "copy the bot's memory", "run a program",
    ],
)  # fmt: skip
def test_landlock_alone_keeps_other_files_and_the_bots_memory_closed(probe: Probe, attempt: str) -> None:
    assert works(probe("landlock")) >= ITS_FILES
    assert not probe("landlock")[attempt]


@confined
@pytest.mark.parametrize(
    "attempt",
    [
        "rename a file", "change a file's mode", "make a TCP socket", "make a UDP socket",
        "make a Unix socket", "start a process", "run a program", "copy the bot's memory", "signal the bot",
        "have the bot signalled", "get a handle of the bot", "lift its own limits", "become readable to others",
        "stop its own clock",
    ],
)  # fmt: skip
def test_seccomp_alone_keeps_the_network_and_other_processes_closed(probe: Probe, attempt: str) -> None:
    assert works(probe("seccomp")) >= ITS_FILES
    assert not probe("seccomp")[attempt]


@confined
def test_a_filter_that_ends_whoever_asks_for_landlock_is_survived() -> None:
    """A unit of systemd with `SystemCallFilter=@system-service` has one."""
    command = [sys.executable, "-P", "-m", "tests.media.landlock_killer"]
    done = subprocess.run(command, env=sandbox.environment(), capture_output=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout) == (0, b"0")


@pytest.mark.parametrize(
    ("platform", "landlock_abi", "has_seccomp", "lacks"),
    [
        ("linux", 7, True, []),
        ("linux", 0, True, [Protection.LANDLOCK]),
        ("linux", 7, False, [Protection.SECCOMP]),
        ("linux", 0, False, [Protection.LANDLOCK, Protection.SECCOMP]),
        ("darwin", 0, False, [Protection.CONFINEMENT]),
    ],
)
def test_each_protection_that_a_system_lacks_is_named(
    platform: str,
    landlock_abi: int,
    has_seccomp: bool,  # noqa: FBT001
    lacks: list[Protection],
) -> None:
    assert list(sandbox.protections_lacking(platform, landlock_abi, has_seccomp=has_seccomp)) == lacks
