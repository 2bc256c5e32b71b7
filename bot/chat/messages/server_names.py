"""What the operator sees a server called. Pure. Names are foreign text: escaped in messages, cut to fit."""

from collections.abc import Mapping

from bot.chat.messages.markdown import CHOICE_MAX, escaped, fitting, one_line
from bot.domain.guilds import OUTSIDE_SERVERS

OUTSIDE = "direct messages"
_NAME_MAX = 60


def known_name(guild_id: int, names: Mapping[int, str]) -> str | None:
    """A server's name; also that of direct messages, for they have spent even after they were turned off."""
    return OUTSIDE if guild_id == OUTSIDE_SERVERS else names.get(guild_id)


def name_of(guild_id: int, names: Mapping[int, str]) -> str:
    """A server in a list: its name, if the bot knows it, and its id."""
    known = known_name(guild_id, names)
    return f"`{guild_id}`" if known is None else f"**{escaped(known, _NAME_MAX)}** `{guild_id}`"


def server_choice(guild_id: int, names: Mapping[int, str]) -> str:
    """A server as an autocomplete choice: the name is cut, the id is not."""
    end = f" · {guild_id}"
    return fitting(one_line(known_name(guild_id, names) or "not joined"), CHOICE_MAX - len(end), str) + end
