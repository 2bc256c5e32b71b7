"""Foreign text as it may stand in a Discord message, Discord's limits, and the markdown that all texts use.

Pure. A prompt is a member's text and an upstream's reason is a stranger's: both are escaped, so that they can't
ping, break out of their line or pose as the bot.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import accumulate, cycle

CONTENT_MAX = 2000
"""Characters in a message's content (Discord's documentation of Create Message)."""
FIELD_MAX = 1024
"""Characters in a field of an embed (Discord's documentation of Embed Limits)."""
CHOICE_MAX = 100
"""Characters in a choice's name (Discord's documentation of application commands)."""
CHOICES_MAX = 25
"""Choices that autocomplete shows at most (Discord's documentation of application commands)."""

_SPECIAL = re.compile(r"([\\*_~`|>#\-+\[\]()<:@/])")
"""What can begin or end markup, a mention, an emoji, a time stamp or a link in Discord's markdown."""

_MENTION = re.compile(r"(<(?:@&?|#)\d{1,20}>)")
"""A mention of a member, a role or a channel."""


def escaped(text: str, most: int | None = None) -> str:
    """Foreign text as it may stand in a message: on one line, nothing in it works.

    most: how much room the result may take, in characters as `room` counts them; what is longer is cut.
    Bidirectional controls and characters without width are dropped (joiners inside emoji stay).
    """
    line = one_line(text)
    return _escape(line) if most is None else fitting(line, most, _escape)


def naming(text: str, most: int | None = None) -> str:
    """As `escaped`, but mentions of members, roles and channels in it work: for what admins read.

    Whether they ping is up to the message's allowed mentions.
    """
    line = one_line(text)
    return _escape_but_mentions(line) if most is None else fitting(line, most, _escape_but_mentions)


def _escape_but_mentions(line: str) -> str:
    parts = _MENTION.split(line)
    return "".join(part if odd else _escape(part) for part, odd in zip(parts, cycle((False, True)), strict=False))


def one_line(text: str) -> str:
    """Foreign text on one line, without what can't be seen; not escaped."""
    return " ".join("".join(char for char in text if not _invisible(char)).split())


def _escape(line: str) -> str:
    return _SPECIAL.sub(r"\\\1", line)


def fitting(line: str, most: int, show: Callable[[str], str]) -> str:
    """What `show` makes of the line, cut before it is shown: a cut escape would let the next character out."""
    if len(line) <= most and room(shown := show(line)) <= most:
        return shown
    cut = line[:most]
    while cut and room(show(cut)) >= most:
        cut = cut[:-1].rstrip()
    return f"{show(cut).rstrip(chr(92))}…"  # what is shown as it is may be markdown: no escape is cut in two


def joined_within(
    lines: Iterable[str], limit: int, *, total: int | None = None, rest: str = "", tail: str = ""
) -> str:
    """As many of the lines as fit in `limit` characters, then `tail`.

    rest: the line that says that some are missing; `{left}` in it is how many. total: how many lines there are,
    where `lines` does not have them all.
    """
    given = list(lines)
    total = len(given) if total is None else total
    sizes = list(accumulate((room(line) + 1 for line in given), initial=0))  # each line with its line break
    shown = len(given)
    while True:
        ends = [end for end in (rest.format(left=total - shown) if shown < total else "", tail) if end]
        if not shown or sizes[shown] + sum(room(end) + 1 for end in ends) - 1 <= limit:
            return "\n".join([*given[:shown], *ends])
        shown -= 1


def room(text: str) -> int:
    """How many characters Discord may count in a text: emoji as two, the stricter of the readings in use."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _invisible(char: str) -> bool:
    if char in "\u200c\u200d":  # joiners: emoji and some scripts are made with them
        return False
    return unicodedata.category(char) in {"Cc", "Cf", "Cs"} and not char.isspace()


def mention(user_id: int) -> str:
    """The member, clickable; whether it pings is up to the message's allowed mentions. 0: one who was erased."""
    return f"<@{user_id}>" if user_id else "a deleted member"


def several(count: int, noun: str) -> str:
    """The number with its noun: `1 video`, `2,000 videos`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def sentence(text: str) -> str:
    """The text with a full stop, unless it ends like a sentence already."""
    return text if text.endswith((".", "!", "?", "…", "。")) else f"{text}."


def exact(moment: datetime) -> str:
    """The moment as Discord shows it to each reader in their own time zone: the date and the time."""
    return f"<t:{int(moment.timestamp())}:f>"


def relative(moment: datetime) -> str:
    """The moment as Discord shows it to each reader in their own words: in two hours, a day ago."""
    return f"<t:{int(moment.timestamp())}:R>"
