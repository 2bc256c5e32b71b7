"""Holds the rules of the house: who may import whom, and what a module has to be like."""

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULE_LINES_MAX = 400

# Low to high, one line a layer: a module imports its own package and what stands in lower lines, never sideways.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"bot.domain.errors"}),
    frozenset({"bot.domain.jobs", "bot.operations.redaction", "bot.domain.approvals", "bot.domain.schedule"}),
    frozenset(
        {
            "bot.domain.guilds",
            "bot.domain.ledger",
            "bot.chat.messages.markdown",
            "bot.domain.money",
            "bot.domain.orders",
            "bot.domain.durations",
        }
    ),
    frozenset(
        {
            "bot.operations.clock",
            "bot.operations.process_hardening",
            "bot.operations.workdir",
            "bot.settings",
            "bot.operations.logs",
            "bot.operations.diagnostics",
        }
    ),
    frozenset({"bot.domain.limits", "bot.seams"}),
    frozenset({"bot.domain.quotas", "bot.domain.blocked_terms"}),
    frozenset({"bot.domain.usage_stats", "bot.domain.member_data", "bot.domain.policy"}),
    frozenset({"bot.media.usage_chart", "bot.media.color", "bot.media.sandbox", "bot.services.csv_export"}),
    frozenset({"bot.media.first_frame", "bot.media.transcode"}),
    frozenset({"bot.media.decode_worker"}),
    frozenset({"bot.media.decode_client"}),
    frozenset({"bot.store", "bot.providers"}),
    frozenset({"bot.worker.notifier", "bot.worker.outcome_writer", "bot.worker.stages"}),
    frozenset({"bot.worker.loop"}),
    frozenset({"bot.services.videos", "bot.services.admin", "bot.services.operator", "bot.services.privacy"}),
    frozenset({"bot.chat", "bot.worker.retention"}),
    frozenset({"bot.app"}),
    frozenset({"bot.doctor", "bot.demo"}),
    frozenset({"bot.__main__"}),
)
COGS_SEE = {
    "bot.chat",
    "bot.services.videos",
    "bot.services.admin",
    "bot.services.operator",
    "bot.domain.usage_stats",
    "bot.domain.guilds",
    "bot.domain.jobs",
    "bot.domain.errors",
    "bot.domain.durations",
    "cogs",
}
ROOTS = {"bot.app", "bot.doctor", "bot.demo", "bot.__main__"}
SETTINGS_AND_LOG = {"bot.settings", "bot.operations.logs"}
SPEAK_ON_STDOUT = {"bot.demo", "bot.__main__", "bot.media.decode_client"}  # the last reads that of its own process

# Each package from outside, and where it may be imported.
OUTSIDE: dict[str, set[str]] = {
    "discord": {"bot.chat", "bot.demo", "cogs"},
    # discord.py lets aiohttp's errors through, and takes its trace hooks: one module of the chat each.
    "aiohttp": {"bot.providers", "bot.demo", "bot.chat.posting", "bot.chat.transport.request_throttle"},
    "yarl": {"bot.providers", "bot.settings", "bot.chat.transport.endpoints"},
    "sqlalchemy": {"bot.store"},
    "alembic": {"bot.store"},
    "asyncpg": {"bot.store"},
    "matplotlib": {"bot.media.usage_chart"},
    "PIL": {"bot.media.color", "bot.media.first_frame", "bot.demo"},
    "pillow_heif": {"bot.media.first_frame"},
    "av": {"bot.media.transcode", "bot.demo"},
    "re2": {"bot.domain.blocked_terms"},
    "dotenv": {"bot.settings"},
    "pydantic": {"bot.settings", "bot.demo"},
    "pydantic_core": {"bot.settings"},
    "pydantic_settings": {"bot.settings"},
    "simcord": {"bot.demo"},
    "rich": {"bot.demo"},
}


@dataclass(frozen=True)
class Module:
    """A module of ours, parsed."""

    name: str
    text: str

    @property
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


def layer(name: str) -> tuple[int, str] | None:
    """The height of a module's unit, and the unit."""
    for height, units in enumerate(LAYERS):
        for unit in units:
            if lies_in(name, unit):
                return height, unit
    return None


def wrong_ways(module: Module) -> list[str]:
    """What a module of ours imports against the order of the layers."""
    ours = [name for name in imports(module.tree) if name.split(".")[0] in {"bot", "cogs", ""}]
    if module.is_in({"cogs"}):
        return [name for name in ours if not any(lies_in(name, place) for place in COGS_SEE)]
    stands = layer(module.name)
    if stands is None:
        return ours
    height, unit = stands
    return [
        name
        for name in ours
        if (other := layer(name)) is None
        or (other[1] != unit and other[0] >= height)
        or (other[1] in SETTINGS_AND_LOG and not module.is_in(ROOTS | SETTINGS_AND_LOG))
    ]


def strangers(module: Module) -> list[str]:
    """What a module imports from outside without leave."""
    packages = {name.split(".")[0] for name in imports(module.tree)} - {"bot", "cogs", ""}
    return sorted(
        package
        for package in packages - sys.stdlib_module_names
        if package not in OUTSIDE or not module.is_in(OUTSIDE[package])
    )


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


def faults(modules: list[Module], find: Callable[[Module], object]) -> dict[str, object]:
    """What `find` finds wrong, by the module's name; one test a rule tells of all that break it."""
    return {module.name: found for module in modules if (found := find(module))}


def test_a_module_imports_downward_only() -> None:
    assert faults(PROGRAM, wrong_ways) == {}


def test_a_package_from_outside_is_imported_in_its_place_only() -> None:
    assert faults(PROGRAM, strangers) == {}


def test_a_module_says_why_it_exists() -> None:
    assert faults(PROGRAM, lambda module: not ast.get_docstring(module.tree)) == {}


def test_a_module_is_one_noun() -> None:
    assert faults(PROGRAM, lambda module: max(0, len(module.text.splitlines()) - MODULE_LINES_MAX)) == {}


def test_only_the_command_line_and_the_demo_write_to_standard_output() -> None:
    assert faults(PROGRAM, lambda module: not module.is_in(SPEAK_ON_STDOUT) and writes_to_stdout(module)) == {}


def test_a_test_hands_in_fakes_instead_of_patching() -> None:
    assert faults(TESTS, patches_our_code) == {}


def test_every_module_has_its_place() -> None:
    lost = [module.name for module in PROGRAM if module.name != "bot" and layer(module.name) is None]
    assert [name for name in lost if not lies_in(name, "cogs")] == []


def test_every_place_has_a_module() -> None:
    named = {unit for units in LAYERS for unit in units} | {
        place for places in OUTSIDE.values() for place in places
    }
    assert {place for place in named if not any(module.is_in({place}) for module in PROGRAM)} == set()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bot.domain.errors", "import bot.domain.jobs"),
        ("bot.domain.quotas", "from bot.store.engine import Database"),
        ("bot.store.jobs.job_store", "from bot.providers import base"),
        ("bot.providers.vtrix.client", "import bot.store.jobs.job_store as jobs"),
        ("bot.worker.stages", "from bot import worker"),
        ("bot.worker.stages", "from bot import jobs, worker"),
        ("bot.services.videos", "def f():\n    from bot.chat import texts"),
        ("bot.services.videos", "if TYPE_CHECKING:\n    from bot.chat import texts"),
        ("bot.worker.loop", "from bot.settings import Settings"),
        ("bot.chat.transport.client", "from bot import log"),
        ("bot.chat.transport.client", "import cogs.animate"),
        ("bot.chat.transport.client", "importlib.import_module('cogs.animate')"),
        ("bot.app", "from bot import doctor"),
        ("bot.app", "from . import doctor"),
        ("bot.demo.runner", "from bot.doctor import examine"),
        ("bot.newcomer", "from bot.domain.errors import UserError"),
        ("cogs.animate", "from bot.store.jobs.job_store import JobStore"),
        ("cogs.animate", "from bot import app"),
        ("cogs.animate", "from bot.media.first_frame import conform"),
    ],
)
def test_a_wrong_way_would_be_found(name: str, text: str) -> None:
    assert wrong_ways(Module(name, text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bot.domain.orders", "from bot.domain.errors import OrderRefused"),
        ("bot.store.jobs.leasing", "from bot.store import gate\nfrom bot.domain.jobs import Job"),
        ("bot.demo.runner", "from bot import log\nfrom bot.app import App"),
        ("bot.__main__", "from bot import app, doctor, log"),
        ("cogs.animate", "from bot.chat import texts\nfrom bot import jobs"),
    ],
)
def test_a_right_way_is_let_through(name: str, text: str) -> None:
    assert wrong_ways(Module(name, text)) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bot.services.videos", "import discord"),
        ("bot.chat.messages.member_texts", "import aiohttp"),
        ("bot.worker.stages", "from sqlalchemy import select"),
        ("bot.chat.permissions.channel_checks", "from PIL.Image import open"),
        ("cogs.videos", "import requests"),
        ("bot.app", "importlib.import_module('asyncpg')"),
    ],
)
def test_a_stranger_would_be_found(name: str, text: str) -> None:
    assert strangers(Module(name, text))


@pytest.mark.parametrize("text", ["print('x')", "import sys\nsys.stdout.write('x')", "from sys import stdout"])
def test_a_word_on_standard_output_would_be_found(text: str) -> None:
    assert writes_to_stdout(Module("bot.worker.stages", text))


@pytest.mark.parametrize(
    "text",
    [
        "from unittest import mock",
        "from unittest.mock import AsyncMock",
        "import unittest.mock",
        "monkeypatch.setattr('bot.media.transcode.fit', None)",
        "from bot import clips\nmonkeypatch.setattr(clips, 'fit', None)",
        "from bot.worker.stages import STEPS\nmonkeypatch.setitem(STEPS, 'queued', None)",
        "from bot import clips\nclips.fit = None",
        "from bot.worker.loop import LEASES\nLEASES['queued'] = None",
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
def test_what_is_no_patch_of_ours_is_let_through(text: str) -> None:
    assert patches_our_code(Module("tests.test_x", text)) == []


def test_the_rules_see_the_whole_program() -> None:
    seen: Callable[[str], bool] = {module.name for module in PROGRAM}.__contains__
    assert all(map(seen, ("bot", "bot.__main__", "bot.store.migrations.env", "cogs", "cogs.animate")))
    assert any(module.name == "tests.chat.messages.test_member_texts" for module in TESTS)
