"""What the Dockerfile promises, read from the file itself; no container engine is needed."""

import json
import re
import shlex
import stat
from pathlib import Path

import pytest

from bot.__main__ import main
from tests.deploy.deploy_files import ROOT, SETTINGS, dockerfile, image_environment, values

BUILD, FINAL = dockerfile()


def test_both_stages_are_of_one_slim_python_by_its_tag() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (tag,) = re.findall(r"^ARG PYTHON=(\S+)$", text, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", tag)
    assert {value.split()[0] for value in values(BUILD, "FROM") + values(FINAL, "FROM")} == {"${PYTHON}"}


def test_everything_installed_is_pinned_and_hashed() -> None:
    installs = [part for run in values(BUILD, "RUN") for part in run.split("&&") if "pip install" in part]
    assert len(installs) == 2
    assert "--require-hashes --no-deps -r requirements/run.txt" in installs[0]
    assert installs[1].split()[-3:] == ["--no-deps", "--no-build-isolation", "."]
    assert not any("pip" in run or "apt" in run for run in values(FINAL, "RUN"))


def test_what_only_builds_the_package_is_removed_and_the_rest_checked() -> None:
    (run,) = (run for run in values(BUILD, "RUN") if "pip check" in run)
    removed, checked = run.split("&&")[1:3]
    assert "-r requirements/build.in" in removed
    assert checked.split()[1:] == ["-m", "pip", "check"]
    pinned = (ROOT / "requirements" / "run.txt").read_text(encoding="utf-8")
    names = removed.split("requirements/build.in")[1].split()
    assert [name for name in names if name != "setuptools" and f"\n{name}==" not in f"\n{pinned}"] == []
    assert any("uninstall --yes pip" in run for run in values(BUILD, "RUN"))


def test_the_bot_has_a_user_of_its_own_with_a_fixed_id() -> None:
    (user,) = values(FINAL, "USER")
    uid, gid = (int(number) for number in user.split(":"))
    assert min(uid, gid) >= 1000
    (run,) = values(FINAL, "RUN")
    assert f"useradd --uid {uid} --gid {gid} " in run
    assert f"install --directory --owner={uid} --group={gid} --mode=0700 /data" in run
    order = [instruction.name for instruction in FINAL]
    assert order.index("USER") > order.index("RUN")


def test_python_of_the_image_is_compiled_as_its_file_system_may_be_read_only() -> None:
    (run,) = values(FINAL, "RUN")
    assert run.startswith("python3 -m compileall")
    assert image_environment()["PYTHONDONTWRITEBYTECODE"] == "1"


def test_the_image_stops_as_the_bot_expects_and_passes_arguments_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert values(FINAL, "STOPSIGNAL") == ["SIGTERM"]
    (entrypoint,), (command,) = values(FINAL, "ENTRYPOINT"), values(FINAL, "CMD")
    assert json.loads(entrypoint) == ["zoetrope"]
    with pytest.raises(SystemExit) as exited:
        main([*json.loads(command), "--help"])
    assert exited.value.code == 0
    assert "usage: zoetrope run" in capsys.readouterr().out


def test_the_health_check_runs_python_only_and_exists() -> None:
    (check,) = values(FINAL, "HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert command[:2] == ["python", "-I"]
    copied = dict(copy.split() for copy in values(BUILD, "COPY") if copy.startswith("deploy/"))
    (source, folder) = next(iter(copied.items()))
    assert command[2] == f"{folder}{Path(source).name}"
    assert (ROOT / source).is_file()


def test_the_image_sets_known_settings_and_no_secret() -> None:
    set_by_image = set(image_environment()) - {"PATH", "PYTHONDONTWRITEBYTECODE"}
    assert set_by_image <= SETTINGS
    assert set_by_image == {"DATABASE_URL", "METRICS_HOST", "METRICS_PORT"}
    assert image_environment()["DATABASE_URL"] == "sqlite:////data/zoetrope.db"
    assert values(FINAL, "EXPOSE") == [image_environment()["METRICS_PORT"]]


def test_the_image_says_that_it_is_under_the_gpl() -> None:
    assert 'org.opencontainers.image.licenses="GPL-3.0-or-later"' in values(FINAL, "LABEL")[0]


def test_jpeg_xl_can_be_left_out() -> None:
    assert "JPEG_XL=true" in values(BUILD, "ARG")
    assert any('"$JPEG_XL" = false' in run and "pillow-jxl-plugin" in run for run in values(BUILD, "RUN"))


def context() -> list[str]:
    """The patterns that let files into the build."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "**", "it has to begin with nothing"
    return [rule[1:] for rule in rules if rule.startswith("!")]


def test_the_build_gets_what_it_copies_and_nothing_else() -> None:
    copied = [source for copy in values(BUILD, "COPY") for source in shlex.split(copy)[:-1]]
    assert sorted(context()) == sorted(copied)
    assert all((ROOT / name).exists() for name in copied)
    assert all(
        name.split("/")[0] in {"bot", "cogs", "requirements", "deploy"} or name in copied for name in context()
    )


def test_the_scripts_can_be_started() -> None:
    scripts = sorted((ROOT / "deploy").glob("*.sh"))
    assert scripts
    assert all(path.stat().st_mode & stat.S_IXUSR for path in scripts)
