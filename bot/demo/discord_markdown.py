"""Makes the demo's page read messages as Discord does.

SimCord's page reads CommonMark, in which the line after a quote or a list still belongs to it; in Discord it
doesn't. And it shows no mentions in an embed's description and fields, and no small print in its description,
where Discord does. It has no settings for any of this, so `follow_discord` changes internals of SimCord 3.2.1.
"""

import re
from functools import cache

from simcord.preview import _markdown

_QUOTE = re.compile(r" {0,3}>\s")
_LIST = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s")
_FENCE = re.compile(r" {0,3}```")


def with_blocks_ended(text: str) -> str:
    """The text with an empty line after each quote and list that a plain line follows; code stays as it is."""
    lines: list[str] = []
    before, in_code = None, False
    for line in text.splitlines(keepends=True):
        if _FENCE.match(line):
            in_code = not in_code
        kind = None if in_code else _kind(line, before)
        if before is not None and kind is not before and line.strip():
            lines.append("\n")
        lines.append(line)
        before = kind
    return "".join(lines)


def _kind(line: str, before: re.Pattern[str] | None) -> re.Pattern[str] | None:
    """What the line belongs to: a quote, a list or neither. before: what the previous line belonged to."""
    if _QUOTE.match(line):
        return _QUOTE
    is_indented = before is _LIST and line.startswith(" ")
    return _LIST if _LIST.match(line) or is_indented else None


@cache
def follow_discord() -> None:
    """Makes SimCord's pages in this process end quotes and lists, and show mentions, where Discord does."""
    expand = _markdown._discord_multiline_quotes  # noqa: SLF001
    _markdown._discord_multiline_quotes = lambda text: with_blocks_ended(expand(text))  # noqa: SLF001
    policies = _markdown._FIELD_POLICIES  # noqa: SLF001
    policies["embed_field_value"]["mentions"] = True
    policies["embed_description"] |= {"mentions": True, "subtext": True}
