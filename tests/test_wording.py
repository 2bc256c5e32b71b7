"""Only the chat package writes sentences for people; other packages return codes and values."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.test_architecture import Module, lies_in, modules

WORDED_FOR_MEMBERS = ("bot.chat",)
WORDED_FOR_THE_COMMAND_LINE = (
    "bot.__main__",
    "bot.demo",
    "bot.doctor",
    "bot.operations.process_hardening",
    "bot.operations.logs",
    "bot.setting_types",
    "bot.settings",
    "bot.store.maintenance.backup",
    "bot.store.engine",
    "bot.store.maintenance.commands",
    "bot.store.maintenance.rehearsal",
    "bot.store.sqlite_files",
)
WORDED_FOR_THE_OPERATOR = ("bot.web",)
EXEMPT = (
    *WORDED_FOR_MEMBERS,
    *WORDED_FOR_THE_OPERATOR,
    *WORDED_FOR_THE_COMMAND_LINE,
    "bot.store.migrations",
    "bot.providers",  # what it raises is for the log; members see the service's own words
)

FOR_THE_LOG = frozenset(
    {
        "debug", "info", "warning", "error", "exception", "critical", "log", "write",
        "StoreError", "DatabaseInUse", "SettingsError", "LoginRefused", "OutOfMemory", "CommitUnknown",
        "VideoUnusable", "VideoTooLarge", "VideoIncomplete", "DecoderNotStarted", "_InvalidResponse",
        "_refuse_damage",
        "ValueError", "TypeError", "RuntimeError", "OSError",
    }
)  # fmt: skip
"""Calls whose text no member sees: the log, and errors that are only ever logged."""

SQL = frozenset({"text", "CheckConstraint", "execute", "exec_driver_sql"})

PROMPTS = {("bot.domain.blocked_terms", "_ORDINARY")}
"""Sentences that nobody is shown: prompts that patterns are tested with."""

WORDS_OF_A_SENTENCE = 4


def sentences(module: Module) -> Iterator[str]:
    """Strings of the module that read like a sentence for people."""
    yield from _sentences(module.tree, module.name)


def _sentences(node: ast.AST, module: str) -> Iterator[str]:
    match node:
        case ast.Expr(value=ast.Constant(value=str())) | ast.Assert():
            return
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in FOR_THE_LOG | SQL:
            return
        case ast.Assign(targets=[ast.Name(id=name)]) if (module, name) in PROMPTS:
            return
        case ast.JoinedStr(values=values):
            said = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in values)
            if _is_sentence(said):
                yield said
            return
        case ast.Constant(value=str(said)) if _is_sentence(said):
            yield said
    for child in ast.iter_child_nodes(node):
        yield from _sentences(child, module)


def _is_sentence(text: str) -> bool:
    words = re.findall(r"[^\W\d_][\w'’]*", text)
    is_sql = text.startswith(("PRAGMA", "SELECT")) or re.search(r"\bIS (NOT )?NULL\b", text)
    spaced = " " in text.strip() and "://" not in text and not is_sql
    return spaced and len(words) >= WORDS_OF_A_SENTENCE


@pytest.mark.parametrize(
    "module",
    [module for module in modules("bot") if not any(lies_in(module.name, place) for place in EXEMPT)],
    ids=lambda module: module.name,
)
def test_modules_outside_of_the_chat_contain_no_sentences(module: Module) -> None:
    assert list(sentences(module)) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('raise UserError("That is not a video of yours.")', 1),
        ('x = f"You have {n} of {m} videos left."', 1),
        ('log.info("the job %s is on its way", x)', 0),
        ('raise StoreError("The database is not there.")', 0),
        ('def f():\n    """Says this and that in words."""', 0),
        ('x = "two words"', 0),
    ],
)
def test_sentences_that_people_would_read_are_found(source: str, found: int) -> None:
    assert len(list(sentences(Module("bot.example", source)))) == found


def test_only_the_chat_and_the_page_that_shows_its_texts_use_markdown() -> None:
    users = {
        module.name
        for module in modules("bot")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and node.module == "bot.chat.messages.markdown"
    }
    shown = "bot.chat", "bot.web.operator_page"
    assert {name for name in users if not any(lies_in(name, package) for package in shown)} == set()
