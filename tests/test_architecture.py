"""Rules for modules and tests that no linter checks; import-linter checks the imports (pyproject.toml)."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULE_LINES_MAX = 400
LOOSE_MODULES_MAX = 8

# Those in media use the standard output of the processes that they start, or are such a process.
MAY_USE_STDOUT = {
    "bot.demo",
    "bot.__main__",
    "bot.media.decode_client",
    "bot.media.sandbox",
    "bot.media.charts",
    "bot.media.chart_worker",
}


@dataclass(frozen=True)
class Module:
    """A module of ours, parsed."""

    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def is_in(self, places: set[str] | frozenset[str]) -> bool:
        return any(lies_in(self.name, place) for place in places)


def lies_in(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}.")


def modules(*folders: str) -> list[Module]:
    found = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append(Module(name, path.read_text(encoding="utf-8")))
    return found


def imports(tree: ast.AST) -> Iterator[str]:
    """Everything that is imported, also in a function, for typing only, or by name; as deep as it is written.

    Of `from a import b`, only `a.b`: whether b is a module or a thing in one, `a` comes first either way.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                yield from (f"{'.' * level}{module or ''}.{alias.name}" for alias in names)
            case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]) if last_name(func) in {
                "import_module",
                "__import__",
            }:
                yield name


def last_name(node: ast.expr) -> str:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


def first_name(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def writes_to_stdout(module: Module) -> bool:
    names = {last_name(node) for node in ast.walk(module.tree) if isinstance(node, ast.Attribute | ast.Name)}
    imported = {name.split(".")[-1] for name in imports(module.tree)}
    return bool((names | imported) & {"print", "stdout", "__stdout__"})


def patches_our_code(module: Module) -> list[str]:
    """Where a test replaces a part of our own code instead of handing in another one."""
    tree = module.tree
    found = [name for name in imports(tree) if name.startswith(("unittest.mock", "mock.", "pytest_mock"))]
    ours = {
        alias.asname or alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (node.module or "" if isinstance(node, ast.ImportFrom) else alias.name).split(".")[0] in {"bot", "cogs"}
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=func, args=[ast.Constant(value=str(target)), *_]) if last_name(func) in {
                "setattr",
                "delattr",
            } and target.startswith(("bot.", "cogs.")):
                found.append(f"line {node.lineno}: {target}")
            case ast.Call(func=func, args=[target, *_]) if (
                last_name(func) in {"setattr", "delattr", "setitem", "delitem"} and first_name(target) in ours
            ):
                found.append(f"line {node.lineno}: {ast.unparse(target)}")
            case ast.Assign(targets=targets):
                found += [
                    f"line {node.lineno}: {ast.unparse(target)}"
                    for target in targets
                    if isinstance(target, ast.Attribute | ast.Subscript)
                    and not isinstance(target.value, ast.Call)
                    and first_name(target) in ours
                ]
    return found


PROGRAM = modules("bot", "cogs")
TESTS = modules("tests")


def violations(modules: list[Module], find: Callable[[Module], object]) -> dict[str, object]:
    """What `find` finds wrong, by the module's name, so that one test per rule reports all violations."""
    return {module.name: found for module in modules if (found := find(module))}


def test_every_module_has_a_docstring() -> None:
    assert violations(PROGRAM, lambda module: not ast.get_docstring(module.tree)) == {}


def test_few_modules_are_outside_of_a_package() -> None:
    assert len(list((ROOT / "bot").glob("*.py"))) <= LOOSE_MODULES_MAX


def test_no_module_has_too_many_lines() -> None:
    assert violations(PROGRAM, lambda module: max(0, len(module.text.splitlines()) - MODULE_LINES_MAX)) == {}


def test_only_the_command_line_and_the_demo_write_to_standard_output() -> None:
    assert violations(PROGRAM, lambda module: not module.is_in(MAY_USE_STDOUT) and writes_to_stdout(module)) == {}


def test_tests_pass_in_fakes_instead_of_patching() -> None:
    assert violations(TESTS, patches_our_code) == {}


@pytest.mark.parametrize("text", ["print('x')", "import sys\nsys.stdout.write('x')", "from sys import stdout"])
def test_output_to_standard_output_would_be_found(text: str) -> None:
    assert writes_to_stdout(Module("bot.worker.stages", text))


@pytest.mark.parametrize(
    "text",
    [
        "from unittest import mock",
        "from unittest.mock import AsyncMock",
        "import unittest.mock",
        "monkeypatch.setattr('bot.media.transcode.fit', None)",
        "from bot import clips\nmonkeypatch.setattr(clips, 'fit', None)",
        "from bot.worker.stages import STAGES\nmonkeypatch.setitem(STAGES, 'queued', None)",
        "from bot import clips\nclips.fit = None",
        "from bot.worker.config import LEASE_DURATIONS\nLEASE_DURATIONS['queued'] = None",
        "import bot.media.transcode\nsetattr(bot.media.transcode, 'fit', None)",
    ],
)
def test_a_patch_would_be_found(text: str) -> None:
    assert patches_our_code(Module("tests.test_x", text))


@pytest.mark.parametrize(
    "text",
    [
        "monkeypatch.setenv('DISCORD_TOKEN', 'x')",
        "monkeypatch.chdir(tmp_path)",
        "import sys\nmonkeypatch.setitem(sys.modules, 'asyncpg', None)",
        "from bot.worker.loop import Worker\nworker = Worker()\nworker.idle = 1",
    ],
)
def test_patches_of_other_code_are_allowed(text: str) -> None:
    assert patches_our_code(Module("tests.test_x", text)) == []


def test_the_rules_are_applied_to_the_whole_program() -> None:
    seen: Callable[[str], bool] = {module.name for module in PROGRAM}.__contains__
    assert all(map(seen, ("bot", "bot.__main__", "bot.store.migrations.env", "cogs", "cogs.animate")))
    assert any(module.name == "tests.chat.messages.test_member_texts" for module in TESTS)


START = """
import importlib, sys
import bot.process
from bot.chat.transport.client import EXTENSIONS
for extension in EXTENSIONS:
    importlib.import_module(extension)
print(*sys.modules)
"""
NEEDED_LATER = {
    "PIL", "av", "alembic", "re2", "regex", "sqlalchemy.dialects.postgresql",
    "bot.demo", "bot.doctor", "bot.providers.dashscope.client", "bot.media.first_frame", "bot.media.video_encoder",
    "bot.web", "jinja2", "prometheus_client", "aiohttp.web",
}  # fmt: skip
"""What only child processes need, or only upgrades, servers that block words, a PostgreSQL, a port for metrics and
the operator's page, other providers and commands."""


def test_a_bot_that_starts_loads_only_what_every_bot_needs() -> None:
    command = [sys.executable, "-c", START]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()  # noqa: S603
    assert {"discord", "sqlalchemy.dialects.sqlite", "cogs.animate"} <= set(loaded)
    assert NEEDED_LATER.intersection(loaded) == set()
