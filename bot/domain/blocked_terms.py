"""Finds blocked words, phrases and patterns in a prompt. Pure; matching takes time linear in the text.

Prompts and terms are folded in the same way: width, ligatures, boxed letters, case, accents and invisible
characters are removed. A word is a run of letters and digits and is found only as a whole. In scripts without
spaces, and in Korean, where particles are attached to words, each character is a word, so that terms are also
found inside other words. Marks that are part of a letter, as in Thai, Hindi or Japanese, are kept. Look-alikes
from other scripts and words spelt with digits are not recognised: patterns can cover those.

Blank characters that are not spaces, and flag letters, can be read in several ways; each reading is searched.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Any

import re2  # type: ignore[import-untyped]  # it ships none
import regex  # type: ignore[import-untyped]  # it ships none

from bot.domain.errors import Reason, UserError
from bot.domain.guilds import BlockedTerm

TERMS_MAX = 500
"""Words and patterns of one server."""

PATTERNS_MAX = 25
"""How many of them may be patterns, each of which is searched for separately."""

WORD_CHARS_MAX = 100
PATTERN_CHARS_MAX = 200
QUOTE_CHARS_MAX = 100
CHOICE_VALUE_MAX = 100
"""Characters in a choice's value (Discord's documentation of application commands)."""

_PATTERN_BYTES = 256 * 1024
"""Memory for one compiled pattern: enough for a few letters of any script, repeated."""

_PATTERN_STEPS = 1500
"""Instructions of a compiled pattern; in the worst case RE2 needs this many steps per character."""

ALL_PATTERNS_STEPS = 3000
"""Instructions of all patterns of a server, since every order is searched for all of them."""

_ORDINARY = (
    (
        "A fox runs through fresh snow at dawn, slow camera",
        "Waves roll gently onto the beach while two birds fly by",
        "The girl smiles, her hair moves in the wind",
    ),
    ("海浪拍打沙滩,镜头慢慢拉远", "小猫在雪地里奔跑", "女孩微笑,头发随风飘动"),
)
"""Ordinary prompts: a pattern that matches all in one language would block nearly everything."""

_ACCENTS = regex.compile(
    r"[[[\p{M}--[\u3099\u309a]]&&[\p{Zinh}\p{Hebrew}\p{Arabic}\p{Cyrillic}\p{Glagolitic}\p{InVedicExtensions}]]"
    r"\u0640\u06e5\u06e6\u302e\u302f\ua8e0-\ua8f1]",
    regex.V1,
)
"""Marks that a writer may leave out, such as accents, vowel points and signs of chants and tones.

All other marks are parts of letters, such as the voicing marks of kana.
"""

_INVISIBLE = regex.compile(r"[\p{Cc}\p{Cf}\p{Cs}\p{Default_Ignorable_Code_Point}\p{Emoji_Modifier}]")

_BLANKS = re.compile("[\u115f\u1160\u2800\u3164\uffa0]")
"""Fillers and the empty Braille pattern: some fonts show a space for them, others nothing."""

_FLAG_LETTERS = regex.compile(r"\p{Regional_Indicator}+")
_FLAG = 2
"""This many flag letters in a row are a flag, not a word."""

_WITHOUT_MARKS = regex.compile(r"[\p{Latin}\p{Greek}\p{Cyrillic}\p{Armenian}\p{Han}\p{Hangul}]")
"""Letters of scripts in which a mark is never part of the letter."""

_MARK = regex.compile(r"\p{M}")
_LETTER_OR_MARK = regex.compile(r"[\p{L}\p{M}]")
_CHINESE_JAPANESE = regex.compile(r"[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Bopomofo}]")
_STAND_ALONE = regex.compile(
    _CHINESE_JAPANESE.pattern[:-1] + r"\p{Thai}\p{Lao}\p{Tibetan}\p{Myanmar}\p{Khmer}\p{Hangul}]"
)

_NOT_DECOMPOSED = str.maketrans(
    {"ı": "i", "ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "æ": "ae", "œ": "oe", "\u2800": " "}
)
"""Accented letters and ligatures that Unicode does not decompose, and the empty Braille pattern."""

_BOXED = {
    first + index: chr(ord("a") + index)
    for first in (0x249C, 0x1F110, 0x1F130, 0x1F150, 0x1F170)  # in brackets, twice; boxed, round and boxed black
    for index in range(26)
}
_FLAG_TO_LETTER = {0x1F1E6 + index: chr(ord("a") + index) for index in range(26)}

_NO_GAP, _GAP = "\x1e", "\x1f"
"""Separators between words, where the text has nothing and where it has space or punctuation."""

_BETWEEN_WORDS = re.compile(r"[\n,;，、；]")


@dataclass(frozen=True, slots=True)
class _Words:
    """A text as words. joined: the folded words, with a separator before and after each. plain: their source.

    spans: where each word begins and ends in `plain`.
    """

    joined: str
    plain: str
    spans: tuple[tuple[int, int], ...]

    def find(self, wanted: str) -> str | None:
        """The first occurrence of `wanted` (a `joined` without its outer separators), as written in `plain`."""
        start = self.joined.find(wanted)
        while start >= 0:
            end = start + len(wanted)
            if self.joined[start - 1] in _NO_GAP + _GAP and self.joined[end] in _NO_GAP + _GAP:
                first = _marks(self.joined[:start]) - 1
                return self.plain[self.spans[first][0] : self.spans[first + _marks(wanted)][1]]
            start = self.joined.find(wanted, start + 1)
        return None


@dataclass(frozen=True, slots=True, eq=False)
class _CompiledTerms:
    """A server's terms, ready to search for. Compared by identity, which makes it a cheap cache key."""

    words: tuple[str, ...]
    patterns: tuple[Any, ...]


def find_blocked(prompt: str, terms: Sequence[BlockedTerm]) -> str | None:
    """The first blocked term as it is written in the prompt; None if there is none."""
    return _search(prompt, _compile_terms(tuple(terms))) if terms else None


@lru_cache(maxsize=256)
def _search(prompt: str, terms: _CompiledTerms) -> str | None:
    """See `find_blocked`. Cached, because each order is checked twice."""
    texts = [_words_of(reading) for reading in _readings(prompt)]
    for word in terms.words:
        for text in texts:
            if (found := text.find(word)) is not None:
                return found[:QUOTE_CHARS_MAX]
    plain = [" ".join(text.plain.split()) for text in texts]
    lines = dict.fromkeys([*plain, *(" ".join("".join(map(_fold, line)).split()) for line in plain)])
    for pattern in terms.patterns:
        for line in lines:
            if (match := pattern.search(line)) is not None and match.group():
                return str(match.group())[:QUOTE_CHARS_MAX]
    return None


def _readings(prompt: str) -> Iterable[str]:
    """All ways to read the prompt: as it is, with blanks as spaces, and with blanks removed."""
    closed = _FLAG_LETTERS.sub(_spell_flags, _visible(_BLANKS.sub("", prompt)))
    readings = (prompt, _BLANKS.sub(" ", prompt), closed)
    return readings if _BLANKS.search(prompt) or _FLAG_LETTERS.search(prompt) else readings[:1]


def _spell_flags(run: re.Match[str]) -> str:
    letters = run.group()
    return letters if len(letters) == _FLAG else letters.translate(_FLAG_TO_LETTER)


class TermProblem(StrEnum):
    """Why a word, a phrase or a pattern can't be blocked."""

    WORD_TOO_LONG = "word_too_long"
    NO_WORD = "no_word"
    PUNCTUATION_AT_THE_ENDS = "punctuation_at_the_ends"
    PATTERN_LENGTH = "pattern_length"
    PATTERN_INVALID = "pattern_invalid"
    PATTERN_TOO_COMPLEX = "pattern_too_complex"
    PATTERN_MATCHES_NOTHING = "pattern_matches_nothing"
    PATTERN_TOO_BROAD = "pattern_too_broad"


@dataclass(frozen=True, slots=True)
class UnusableTerm(Reason):
    """The term can't be blocked. term: as typed. said: RE2's message about an invalid pattern."""

    problem: TermProblem
    term: str
    said: str = ""


def split_words(text: str) -> list[str]:
    """The words and phrases in an admin's list, separated by commas, semicolons or line breaks."""
    return [word for part in _BETWEEN_WORDS.split(text) if (word := " ".join(_visible(part).split()))]


def checked_word(text: str) -> BlockedTerm:
    """A valid word or phrase. Raises: UserError."""
    line = " ".join(_visible(text).split())
    if len(line) > WORD_CHARS_MAX:
        raise UserError(UnusableTerm(TermProblem.WORD_TOO_LONG, line))
    words = _words_of(line)
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
    return f"pattern {term.text}" if term.is_pattern else f"word {_words_of(term.text).joined}"


def fold(text: str) -> str:
    """The text as patterns see it: on one line, without case, width, accents and invisible characters."""
    return " ".join("".join(map(_fold, _plain(text))).split())


def _words_of(text: str) -> _Words:
    plain = _plain(text)
    joined = [_GAP]
    spans: list[tuple[int, int]] = []
    open_word, gap = False, ""
    for index, char in enumerate(plain):
        for letter in _fold(char):
            match _kind(letter):
                case "gap":
                    open_word, gap = False, gap + letter
                    continue
                case "alone":
                    new, opens = True, False
                case _:
                    new, opens = not open_word, True
            if new and spans:
                joined.append(_GAP if _separates(gap, joined[-1], letter) else _NO_GAP)
            if new:
                spans.append((index, index + 1))
            spans[-1] = spans[-1][0], index + 1
            joined.append(letter)
            open_word, gap = opens, ""
    return _Words("".join([*joined, _GAP]), plain, tuple(spans))


def _separates(gap: str, before: str, after: str) -> bool:
    """Whether the gap separates two words; a mere space next to a Chinese or Japanese character does not."""
    if not gap:
        return False
    chinese = _CHINESE_JAPANESE.match(before) or _CHINESE_JAPANESE.match(after)
    return not (chinese and gap.isspace())


@lru_cache(maxsize=8192)
def _kind(letter: str) -> str:
    category = unicodedata.category(letter)
    if category[0] in "LNM":
        return "alone" if _STAND_ALONE.match(letter) else "run"
    return "alone" if category in {"So", "Sc", "Co", "Cn"} else "gap"


def _plain(text: str) -> str:
    """The text without width, ligatures, stray marks and invisible characters; case and accents stay."""
    kept: list[str] = []
    for char in unicodedata.normalize("NFKC", _visible(text).translate(_BOXED)):
        if not _MARK.match(char) or (kept and _bears_marks(kept[-1])):
            kept.append(char)
    return "".join(kept)


@lru_cache(maxsize=8192)
def _bears_marks(char: str) -> bool:
    return bool(_LETTER_OR_MARK.match(char)) and not _WITHOUT_MARKS.match(char)


def _visible(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFC", text) if not _is_unseen(char))


@lru_cache(maxsize=8192)
def _is_unseen(char: str) -> bool:
    return not char.isspace() and bool(_INVISIBLE.match(char) or _ACCENTS.match(char))


@lru_cache(maxsize=8192)
def _fold(char: str) -> str:
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", char.translate(_BOXED).casefold()))
    return unicodedata.normalize("NFKC", bare).casefold().translate(_NOT_DECOMPOSED)


@lru_cache(maxsize=64)
def _compile_terms(terms: tuple[BlockedTerm, ...]) -> _CompiledTerms:
    words = (_words_of(term.text).joined[1:-1] for term in terms if not term.is_pattern)
    return _CompiledTerms(tuple(filter(None, words)), tuple(_compiled_patterns(terms)))


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
    folded = _fold("" if _is_unseen(char) else char)
    if len(folded) > 1:
        return char
    return folded if folded.isalnum() else str(re2.escape(folded))


def _said(error: Exception) -> str:
    """RE2's message about a pattern, on one line."""
    said = error.args[0] if error.args else ""
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def _marks(text: str) -> int:
    return text.count(_NO_GAP) + text.count(_GAP)


def choice_value(term: BlockedTerm) -> str:
    """The term's value in an autocomplete choice: its text or, if that is too long, a digest."""
    if len(term.text.encode("utf-16-le", "surrogatepass")) // 2 <= CHOICE_VALUE_MAX:  # Discord counts emoji as two
        return term.text
    return f"#{sha256(term.text.encode(errors='replace')).hexdigest()[:32]}"


def find_term(typed: str, terms: Sequence[BlockedTerm]) -> BlockedTerm | None:
    """The term that an admin means: by choice value, by exact text, or by a word that blocks the same."""
    line = " ".join(_visible(typed).split())
    wanted, key = {typed, line}, match_key(BlockedTerm(line))
    exact = (term for term in terms if wanted & {choice_value(term), term.text})
    return next(exact, None) or next((term for term in terms if match_key(term) == key), None)
