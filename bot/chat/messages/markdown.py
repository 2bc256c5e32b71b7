"""Foreign text made safe for a Discord message, Discord's limits, and the markdown that all texts use.

Pure. A prompt is a member's text and an upstream's reason is a stranger's: both are escaped, so that they can't
ping, break out of their line or pose as the bot.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
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

_ADDRESS_MAX = 1700
"""The longest address that leaves room for some words in a message."""

_WEB_PAGE = re.compile(r"<\s*(?:!doctype|html|head|title|body|h1|center|\?xml)\b", re.IGNORECASE)

_MENTION = re.compile(r"(<(?:@&?|#)\d{1,20}>)")
"""A mention of a member, a role or a channel."""


def escaped(text: str, maximum: int | None = None, *, keep_mentions: bool = False) -> str:
    """Foreign text as it may stand in a message: on one line, nothing in it works.

    maximum: the longest result, as `discord_length` counts; what is longer is cut. keep_mentions: for what admins
    read; whether mentions ping is up to the message's allowed mentions. Bidirectional controls and characters
    without width are dropped (joiners inside emoji stay).
    """
    line, escape = one_line(text), _escape_but_mentions if keep_mentions else _escape
    return escape(line) if maximum is None else fitting(line, maximum, escape)


_MARKUP = re.compile(
    r"\\(?P<escaped>.)|`(?P<code>[^`\n]*)`|\*\*|^-# |^> "
    r"|<t:(?P<second>\d{1,12})(?::[a-zA-Z])?>|<@&?(?P<member>\d{1,20})>|<#(?P<channel>\d{1,20})>",
    re.MULTILINE,
)


def plain(text: str) -> str:
    """A text of ours without its markdown, for where none is shown: what `escaped` put in is taken out again."""
    return _MARKUP.sub(_plain, text)


def _plain(found: re.Match[str]) -> str:
    if found["second"] is not None:
        return f"{datetime.fromtimestamp(int(found['second']), UTC):%Y-%m-%d %H:%M} UTC"
    for name, before in (("escaped", ""), ("code", ""), ("member", "member "), ("channel", "channel ")):
        if found[name] is not None:
            return f"{before}{found[name]}"
    return ""


def before_web_page(text: str) -> str:
    """Foreign text up to where a web page's source begins, such as a proxy's in front of a service."""
    found = _WEB_PAGE.search(text)
    return text if found is None else f"{text[: found.start()]}(a web page)"


def _escape_but_mentions(line: str) -> str:
    parts = _MENTION.split(line)
    return "".join(part if odd else _escape(part) for part, odd in zip(parts, cycle((False, True)), strict=False))


def one_line(text: str) -> str:
    """Foreign text on one line, without what can't be seen; not escaped."""
    return " ".join(visible(text).split())


def visible(text: str) -> str:
    """Foreign text without what can't be seen or turns the direction of what follows; its lines stay."""
    return "".join(char for char in text if not _invisible(char))


def _escape(line: str) -> str:
    return _SPECIAL.sub(r"\\\1", line)


def choice_name(text: str) -> str:
    """A choice of autocomplete, which shows no markdown: on one line, cut to Discord's limit."""
    return fitting(one_line(text), CHOICE_MAX, str)


def fitting(line: str, maximum: int, show: Callable[[str], str]) -> str:
    """What `show` makes of the line, cut before it is shown: a cut escape would let the next character out."""
    if len(line) <= maximum and discord_length(shown := show(line)) <= maximum:
        return shown
    longest = line[:maximum]
    # By bisection: a long text of nothing but markup, cut one character at a time, takes half a second.
    is_too_long = partial(_is_cut_too_long, longest, maximum, show)
    cut = longest[: bisect_left(range(len(longest) + 1), x=True, key=is_too_long) - 1].rstrip()
    return f"{show(cut).rstrip(chr(92))}…"  # what is shown as it is may be markdown: no escape is cut in two


def _is_cut_too_long(line: str, maximum: int, show: Callable[[str], str], length: int) -> bool:
    return discord_length(show(line[:length].rstrip())) >= max(maximum, 1)


def joined_within(
    lines: Iterable[str], limit: int, *, total: int | None = None, rest: str = "", tail: str = ""
) -> str:
    """As many of the lines as fit in `limit` characters, then `tail`.

    rest: the line that says how many are left out, as `{left}`. total: how many lines there are, where `lines`
    does not have them all.
    """
    given = list(lines)
    total = len(given) if total is None else total
    # Each line counts with its line break.
    sizes = list(accumulate((discord_length(line) + 1 for line in given), initial=0))
    shown = len(given)
    while True:
        ends = [end for end in (rest.format(left=total - shown) if shown < total else "", tail) if end]
        if not shown or sizes[shown] + sum(discord_length(end) + 1 for end in ends) - 1 <= limit:
            return "\n".join([*given[:shown], *ends])
        shown -= 1


def discord_length(text: str) -> int:
    """How many characters Discord may count in a text: emoji as two, the stricter of the counts in use."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _invisible(char: str) -> bool:
    if char in "\u200c\u200d":  # joiners: emoji and some scripts are made with them
        return False
    return unicodedata.category(char) in {"Cc", "Cf", "Cs"} and not char.isspace()


def mention(user_id: int) -> str:
    """The member, clickable; whether it pings is up to the message's allowed mentions. 0: one who was erased."""
    return f"<@{user_id}>" if user_id else "a deleted member"


_LINKABLE = re.compile(r"https?://[!-~]+", re.IGNORECASE)


def link(text: str, address: str) -> str | None:
    """The text as a link to a foreign address, or the address itself where Discord's markdown takes no such link.

    None if the address is too long for a message or isn't a web address. It is never changed: it may be signed.
    """
    if _LINKABLE.fullmatch(address) is None or set(address) & set("<>") or len(address) > _ADDRESS_MAX:
        return None
    return f"<{address}>" if set(address) & set("()\\\"'") else f"[{text}](<{address}>)"


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
