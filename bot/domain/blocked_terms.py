"""Finds blocked words, phrases and patterns in a prompt. Pure; matching takes time linear in the text.

What a search costs hardly depends on the number of words, and is bounded by the length of the prompt and the steps
of all patterns. Each pattern is searched for by itself: a `re2.Set` follows all of them at once at the same worst
cost, and where it runs out of memory it reports no match.

Prompts and terms are folded in the same way (`bot.domain.folding`). A word is found only as a whole; patterns can
cover look-alikes and words spelt with digits, which folding leaves as they are.

Blank characters that are not spaces, and flag letters, can be read in several ways; each reading is searched.

The bot loads this module, and with it RE2 and `regex`, once a server blocks something.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any

import re2  # type: ignore[import-untyped]  # it ships none
import regex  # type: ignore[import-untyped]  # it ships none

from bot.domain.errors import UserError
from bot.domain.folding import FoldedWords, fold, fold_char, is_invisible, visible, words_of
from bot.domain.guilds import BlockedTerm
from bot.domain.terms import PATTERN_CHARS_MAX, WORD_CHARS_MAX, TermProblem, UnusableTerm, choice_value

QUOTE_CHARS_MAX = 100
_PATTERN_BYTES = 256 * 1024
"""Memory for one compiled pattern: enough for a few letters of any script, repeated."""

_PATTERN_STEPS = 1500
"""Instructions of a compiled pattern; in the worst case RE2 needs this many steps per character."""

_ORDINARY = (
    (
        "A fox runs through fresh snow at dawn, slow camera",
        "Waves roll gently onto the beach while two birds fly by",
        "The girl smiles, her hair moves in the wind",
    ),
    ("海浪拍打沙滩,镜头慢慢拉远", "小猫在雪地里奔跑", "女孩微笑,头发随风飘动"),
)
"""Ordinary prompts: a pattern that matches all in one language would block nearly everything."""

_BLANKS = re.compile("[\u115f\u1160\u2800\u3164\uffa0]")
"""Fillers and the empty Braille pattern: some fonts show a space for them, others nothing."""

_FLAG_LETTERS = regex.compile(r"\p{Regional_Indicator}+")
_FLAG = 2
"""This many flag letters in a row are a flag, not a word."""

_FLAG_TO_LETTER = {0x1F1E6 + index: chr(ord("a") + index) for index in range(26)}

_BETWEEN_WORDS = re.compile(r"[\n,;，、；]")


@dataclass(slots=True, eq=False)
class _Node:
    """A node of the tree of all words and phrases, whose branches are words with the separator before them.

    term: the place in the server's list of the term that ends here.
    """

    branches: dict[str, "_Node"] = field(default_factory=dict)
    term: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _CompiledTerms:
    """A server's terms, ready to search for. Compared by identity, which makes it a cheap cache key.

    words: the root of their tree, whose branches have no separator.
    """

    words: _Node
    patterns: tuple[Any, ...]


def find_blocked(prompt: str, terms: Sequence[BlockedTerm]) -> str | None:
    """The first blocked term as it is written in the prompt; None if there is none."""
    return _search(prompt, _compile_terms(tuple(terms))) if terms else None


@lru_cache(maxsize=256)
def _search(prompt: str, terms: _CompiledTerms) -> str | None:
    """See `find_blocked`. Cached, because each order is checked twice."""
    texts = [words_of(reading) for reading in _readings(prompt)]
    found = [hit for text in texts if (hit := _first_term(text, terms.words)) is not None]
    if found:
        return min(found, key=itemgetter(0))[1][:QUOTE_CHARS_MAX]
    plain = [" ".join(text.plain.split()) for text in texts]
    lines = dict.fromkeys([*plain, *(" ".join("".join(map(fold_char, line)).split()) for line in plain)])
    for pattern in terms.patterns:
        for line in lines:
            if (match := pattern.search(line)) is not None and match.group():
                return str(match.group())[:QUOTE_CHARS_MAX]
    return None


def _first_term(text: FoldedWords, root: _Node) -> tuple[int, str] | None:
    """The term in the text that comes first in the server's list: its place there, and how the text has it."""
    found: tuple[int, int, int] | None = None
    words = text.split()
    for first, word in enumerate(words):
        last, node = first, root.branches.get(word[1:])
        while node is not None:
            if node.term is not None and (found is None or node.term < found[0]):
                found = node.term, first, last
            last += 1
            node = node.branches.get(words[last]) if last < len(words) else None
    if found is None:
        return None
    term, first, last = found
    return term, text.plain[text.spans[first][0] : text.spans[last][1]]


def _readings(prompt: str) -> Iterable[str]:
    """All ways to read the prompt: as it is, with blanks as spaces, and with blanks removed."""
    closed = _FLAG_LETTERS.sub(_spell_flags, visible(_BLANKS.sub("", prompt)))
    readings = (prompt, _BLANKS.sub(" ", prompt), closed)
    return readings if _BLANKS.search(prompt) or _FLAG_LETTERS.search(prompt) else readings[:1]


def _spell_flags(run: re.Match[str]) -> str:
    letters = run.group()
    return letters if len(letters) == _FLAG else letters.translate(_FLAG_TO_LETTER)


def split_words(text: str) -> list[str]:
    """The words and phrases in an admin's list, separated by commas, semicolons or line breaks."""
    return [word for part in _BETWEEN_WORDS.split(text) if (word := " ".join(visible(part).split()))]


def checked_word(text: str) -> BlockedTerm:
    """A valid word or phrase. Raises: UserError."""
    line = " ".join(visible(text).split())
    if len(line) > WORD_CHARS_MAX:
        raise UserError(UnusableTerm(TermProblem.WORD_TOO_LONG, line))
    words = words_of(line)
    if not words.spans:
        raise UserError(UnusableTerm(TermProblem.NO_WORD, line))
    if words.spans[0][0] > 0 or words.spans[-1][1] < len(words.plain):
        raise UserError(UnusableTerm(TermProblem.PUNCTUATION_AT_THE_ENDS, line))
    return BlockedTerm(line)


def checked_pattern(text: str) -> BlockedTerm:
    """A valid pattern that is cheap enough and does not match everything. Raises: UserError."""
    line = text.strip()
    if not line or len(line) > PATTERN_CHARS_MAX:
        raise UserError(UnusableTerm(TermProblem.PATTERN_LENGTH, line))
    try:
        pattern = _compiled(line)
    except re2.error as error:
        raise UserError(UnusableTerm(TermProblem.PATTERN_INVALID, line, _said(error))) from None
    if pattern.programsize > _PATTERN_STEPS:
        raise UserError(UnusableTerm(TermProblem.PATTERN_TOO_COMPLEX, line))
    hits = [[pattern.search(fold(prompt)) for prompt in prompts] for prompts in _ORDINARY]
    if pattern.search("") is not None or any(hit and not hit.group() for group in hits for hit in group):
        raise UserError(UnusableTerm(TermProblem.PATTERN_MATCHES_NOTHING, line))
    if any(all(group) for group in hits):
        raise UserError(UnusableTerm(TermProblem.PATTERN_TOO_BROAD, line))
    return BlockedTerm(line, is_pattern=True)


def pattern_steps(terms: Iterable[BlockedTerm]) -> int:
    """The instructions of all patterns among the terms: the cost of searching for them."""
    return sum(pattern.programsize for pattern in _compiled_patterns(terms))


def match_key(term: BlockedTerm) -> str:
    """Equal for two terms that block the same."""
    return f"pattern {term.text}" if term.is_pattern else f"word {words_of(term.text).joined}"


@lru_cache(maxsize=64)
def _compile_terms(terms: tuple[BlockedTerm, ...]) -> _CompiledTerms:
    root = _Node()
    for place, term in enumerate(terms):
        words = [] if term.is_pattern else words_of(term.text).split()
        node = root
        for index, word in enumerate(words):
            node = node.branches.setdefault(word if index else word[1:], _Node())
        if words and node.term is None:
            node.term = place
    return _CompiledTerms(root, tuple(_compiled_patterns(terms)))


def _compiled_patterns(terms: Iterable[BlockedTerm]) -> Iterable[Any]:
    for term in terms:
        if term.is_pattern:
            with suppress(re2.error):  # accepted by an older version of RE2
                yield _compiled(term.text)


def _compiled(text: str) -> Any:
    options = re2.Options()
    options.max_mem = _PATTERN_BYTES
    options.case_sensitive = False
    options.log_errors = False
    return re2.compile("".join(map(_literal, unicodedata.normalize("NFC", text))), options)


def _literal(char: str) -> str:
    """A pattern's character as it occurs in folded text; ASCII is pattern syntax and stays."""
    if char.isascii():
        return char
    folded = fold_char("" if is_invisible(char) else char)
    if len(folded) > 1:
        return char
    return folded if folded.isalnum() else str(re2.escape(folded))


def _said(error: Exception) -> str:
    """RE2's message about a pattern, on one line."""
    said = error.args[0] if error.args else ""
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def find_term(typed: str, terms: Sequence[BlockedTerm]) -> BlockedTerm | None:
    """The term that an admin means: by choice value, by exact text, or by a word that blocks the same."""
    line = " ".join(visible(typed).split())
    wanted, key = {typed, line}, match_key(BlockedTerm(line))
    exact = (term for term in terms if wanted & {choice_value(term), term.text})
    return next(exact, None) or next((term for term in terms if match_key(term) == key), None)
