"""Folds a text: removes what lets a word look different from itself, and finds the words in it. Pure.

Width, ligatures, boxed letters, case, accents and invisible characters are removed. A word is a run of letters and
digits. In scripts without spaces, and in Korean, where particles are attached to words, each character is a word.
Marks that are part of a letter, as in Thai, Hindi or Japanese, are kept. Look-alikes from other scripts and words
spelt with digits are not recognised.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import regex  # type: ignore[import-untyped]  # it ships none

_ACCENTS = regex.compile(
    r"[[[\p{M}--[\u3099\u309a]]&&[\p{Zinh}\p{Hebrew}\p{Arabic}\p{Cyrillic}\p{Glagolitic}\p{InVedicExtensions}]]"
    r"\u0640\u06e5\u06e6\u302e\u302f\ua8e0-\ua8f1]",
    regex.V1,
)
"""Marks that a writer may leave out, such as accents, vowel points and signs of chants and tones.

All other marks are parts of letters, such as the voicing marks of kana.
"""

_INVISIBLE = regex.compile(r"[\p{Cc}\p{Cf}\p{Cs}\p{Default_Ignorable_Code_Point}\p{Emoji_Modifier}]")

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

_NO_GAP, _GAP = "\x1e", "\x1f"
"""Separators between words, where the text has nothing and where it has space or punctuation."""

_SEPARATED_WORD = re.compile(f"[{_NO_GAP}{_GAP}][^{_NO_GAP}{_GAP}]+")

_PHRASE_LIGATURES = "\ufdfa\ufdfb"
"""Single characters for whole phrases, the longest of 18 letters; all others stand for six at the most."""


@dataclass(frozen=True, slots=True)
class FoldedWords:
    """A text as words. joined: the folded words, with a separator before and after each. plain: their source.

    spans: where each word begins and ends in `plain`.
    """

    joined: str
    plain: str
    spans: tuple[tuple[int, int], ...]

    def split(self) -> list[str]:
        """The folded words, each with the separator before it."""
        return _SEPARATED_WORD.findall(self.joined)


def fold(text: str) -> str:
    """The text as patterns see it: on one line, without case, width, accents and invisible characters."""
    return " ".join("".join(map(fold_char, _plain(text))).split())


def words_of(text: str) -> FoldedWords:
    """The words of the text."""
    plain = _plain(text)
    joined = [_GAP]
    spans: list[tuple[int, int]] = []
    open_word, gap = False, ""
    for index, char in enumerate(plain):
        for letter in fold_char(char):
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
    return FoldedWords("".join([*joined, _GAP]), plain, tuple(spans))


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
    text = visible(text).translate(_BOXED)
    for ligature in _PHRASE_LIGATURES:
        # The first says all: a prompt of nothing else would be searched as 14,400 letters.
        before, first, after = text.partition(ligature)
        text = before + first + after.replace(ligature, " ")
    for char in unicodedata.normalize("NFKC", text):
        if not _MARK.match(char) or (kept and _bears_marks(kept[-1])):
            kept.append(char)
    return "".join(kept)


@lru_cache(maxsize=8192)
def _bears_marks(char: str) -> bool:
    return bool(_LETTER_OR_MARK.match(char)) and not _WITHOUT_MARKS.match(char)


def visible(text: str) -> str:
    """The text in NFC, without invisible characters and accents that don't belong to a letter."""
    return "".join(char for char in unicodedata.normalize("NFC", text) if not is_invisible(char))


@lru_cache(maxsize=8192)
def is_invisible(char: str) -> bool:
    """Whether the character shows nothing by itself, and is no space."""
    return not char.isspace() and bool(_INVISIBLE.match(char) or _ACCENTS.match(char))


@lru_cache(maxsize=8192)
def fold_char(char: str) -> str:
    """One visible character as it is compared: several letters, or none, for some."""
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", char.translate(_BOXED).casefold()))
    return unicodedata.normalize("NFKC", bare).casefold().translate(_NOT_DECOMPOSED)
