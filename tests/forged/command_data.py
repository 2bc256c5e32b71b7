"""Command data as an API client can send it: every option with a valid value, or with any other."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from discord import AppCommandOptionType as Type

from tests.cogs.conftest import sample_picture
from tests.discord_server import Channel, DiscordServer, Upload, User
from tests.discord_server.models import Json

_GROUPS = (Type.subcommand.value, Type.subcommand_group.value)


@dataclass(frozen=True)
class DeclaredCommand:
    """One registered command. path: the nodes from the root command down to the subcommand."""

    words: str
    path: tuple[Json, ...]

    @property
    def options(self) -> list[Json]:
        return list(self.path[-1].get("options", []))


def declared_commands(server: DiscordServer, *guild_ids: int) -> list[DeclaredCommand]:
    """All global commands and those of these servers."""
    roots = [root for guild_id in (None, *guild_ids) for root in server.commands.listed(guild_id)]
    return [leaf for root in roots for leaf in _leaves((root,))]


def _leaves(path: tuple[Json, ...]) -> Iterator[DeclaredCommand]:
    inner = [node for node in path[-1].get("options", []) if node["type"] in _GROUPS]
    if not inner:
        yield DeclaredCommand(" ".join(node["name"] for node in path), path)
    for node in inner:
        yield from _leaves((*path, node))


class ResolvedObjects(dict[str, Any]):
    """The resolved objects of an interaction: everything that a command of this server could refer to."""

    def __init__(self, server: DiscordServer, channel: Channel, someone: User) -> None:
        member = channel.guild.members[someone.id].json()
        role = channel.guild.everyone
        picture = server.state.store_file("ephemeral-attachments/1", Upload("sea.png", sample_picture()))
        super().__init__(
            users={str(someone.id): someone.json()},
            members={str(someone.id): {key: held for key, held in member.items() if key != "user"}},
            roles={str(role.id): role.json()},
            channels={str(channel.id): channel.json() | {"permissions": "0"}},
            attachments={str(picture.id): picture.json()},
        )

    def valid_value(self, option: Json) -> object:
        """A value that Discord's client would let a member send."""
        if option.get("choices"):
            return option["choices"][0]["value"]
        match Type(option["type"]):
            case Type.string:
                return "1h".ljust(option.get("min_length", 0), "0")
            case Type.integer | Type.number:
                return option.get("min_value", 1)
            case Type.boolean:
                return True
            case Type.user | Type.mentionable:
                return next(iter(self["users"]))
            case kind:
                return next(iter(self[f"{kind.name}s"]))


def data(command: DeclaredCommand, options: list[Json], resolved: Json) -> Json:
    """The `data` of an interaction with exactly these options."""
    root = command.path[0]
    for node in reversed(command.path[1:]):
        options = [{"name": node["name"], "type": node["type"], "options": options}]
    sent: Json = {"id": root["id"], "name": root["name"], "type": 1, "options": options, "resolved": resolved}
    return sent | ({"guild_id": root["guild_id"]} if "guild_id" in root else {})


def filled_options(command: DeclaredCommand, resolved: ResolvedObjects, **overrides: object) -> list[Json]:
    """All options of a command with valid values, except for the given overrides."""
    values = {
        option["name"]: overrides.get(option["name"], resolved.valid_value(option)) for option in command.options
    }
    return [{"name": it["name"], "type": it["type"], "value": values[it["name"]]} for it in command.options]


def invalid_values(option: Json) -> Iterator[object]:
    """Values that the declaration of an option forbids."""
    yield from (None, [], {}, ["x"], {"value": 1})
    kind = Type(option["type"])
    if kind is not Type.boolean:
        yield True
    if option.get("choices"):
        yield from ("", "no-such-choice", option["choices"][0]["value"].swapcase() + " ")
    elif kind is Type.string:
        yield from (5, 1.5, "x" * (option.get("max_length", 6000) + 1))
        if option.get("min_length"):
            yield ""
    elif kind in (Type.integer, Type.number):
        yield from ("5", "", 10**30, -(10**400), float("1e300"), option["min_value"] - 1, option["max_value"] + 1)
    elif kind is Type.boolean:
        yield from ("true", 1, 0)
    else:
        yield from ("", "abc", "0", "1" * 19, "1" * 400, "１２３", "-1", "1\n", 5, "<@1>", "1 OR 1=1")
