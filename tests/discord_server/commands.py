"""The registered application commands, and the interaction data that a Discord client builds from an input.

Discord's client sends nothing that a command's declaration forbids. `command_data` refuses the same input, so that
a test shows whether a limit was declared, not only whether the bot checks it again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from discord import AppCommandOptionType as Kind
from discord import Permissions

from tests.discord_server.messages import Upload
from tests.discord_server.models import ApiError, Guild, Json, User, invalid_form, snowflake
from tests.discord_server.state import DiscordState

NAME = re.compile(r"^[-_'\w]{1,32}$")
Value = str | int | float | bool | User


class InputRejected(Exception):
    """Discord's client would not let a member send this; the text says why."""


class Commands:
    """The registered commands, global and per guild."""

    def __init__(self, state: DiscordState) -> None:
        self._state = state
        self._registered: dict[int | None, dict[str, Json]] = {}
        self.overrides: dict[tuple[int, int], list[Json]] = {}  # by guild, and command or application

    def upsert(self, payloads: list[Json], guild_id: int | None) -> list[Json]:
        """Replaces all commands of one scope, as the bulk overwrite does."""
        for payload in payloads:
            _check(payload)
        if len({payload["name"] for payload in payloads}) < len(payloads):
            raise invalid_form("name", "Application command names must be unique")
        self._registered[guild_id] = {payload["name"]: self._stored(payload, guild_id) for payload in payloads}
        self._state.changed()
        return self.listed(guild_id)

    def listed(self, guild_id: int | None) -> list[Json]:
        return list(self._registered.get(guild_id, {}).values())

    def find(self, name: str, guild_id: int) -> Json | None:
        """A guild's own command hides a global one of the same name."""
        return self._registered.get(guild_id, {}).get(name) or self._registered.get(None, {}).get(name)

    def permissions(self, guild_id: int, target_id: int) -> Json:
        """A server's integration settings for a command, or for all commands if given the application's id."""
        if guild_id not in self._state.guilds:
            raise ApiError(404, 10004, "Unknown Guild")
        if (guild_id, target_id) not in self.overrides:
            raise ApiError(404, 10066, "Unknown application command permissions")
        held, app = self.overrides[guild_id, target_id], str(self._state.bot.id)
        return {"id": str(target_id), "application_id": app, "guild_id": str(guild_id), "permissions": held}

    def _stored(self, payload: Json, guild_id: int | None) -> Json:
        defaults: Json = {
            "type": 1,
            "description": "",
            "options": [],
            "default_member_permissions": None,
            "nsfw": False,
        }
        own = {"id": str(snowflake()), "version": str(snowflake()), "application_id": str(self._state.bot.id)}
        return defaults | payload | own | ({"guild_id": str(guild_id)} if guild_id else {})


def _check(payload: Json) -> None:
    """Rejects what Discord rejects in a registration (documentation, "Application Command Structure")."""
    if payload.get("type", 1) == 1:
        name, description = payload["name"], payload.get("description", "")
        if not NAME.fullmatch(name) or name != name.lower():
            raise invalid_form("name", f"Command name is invalid: {name}")
        if not 1 <= len(description) <= 100:
            raise invalid_form("description", f"Must be between 1 and 100 in length: {name}")
    options = payload.get("options", [])
    required = [option.get("required", False) for option in options]
    if required != sorted(required, reverse=True):
        raise invalid_form("options", "Required options must be placed before non-required options")
    if len(options) > 25 or any(len(option.get("choices") or []) > 25 for option in options):
        raise invalid_form("options", "Must be 25 or fewer in length.")
    for option in options:
        _check(option)


@dataclass(frozen=True)
class CommandInput:
    """What a member types after a command's words. `focused`: the option being autocompleted.

    enforce: refuse what Discord's client would not let a member send.
    """

    values: Mapping[str, Value]
    uploads: Mapping[str, Upload]
    may: Permissions
    focused: str | None = None
    enforce: bool = True

    def check(self, words: str, command: Json, declared: Mapping[str, Json]) -> None:
        """Raises InputRejected."""
        given = self.values.keys() | self.uploads.keys()
        if unknown := given - declared.keys():
            raise InputRejected(f"/{words} has no option {', '.join(sorted(unknown))}")
        if not self.enforce:
            return
        needed = command["default_member_permissions"]
        if needed is not None and not self.may >= Permissions(int(needed)):
            raise InputRejected(f"the member may not use /{words}")
        missing = {name for name, option in declared.items() if option.get("required")} - given
        if missing and self.focused is None:
            raise InputRejected(f"/{words} requires {', '.join(sorted(missing))}")
        for name in self.values.keys() - {self.focused}:
            _check_value(declared[name], self.values[name])


def command_data(commands: Commands, state: DiscordState, guild: Guild, words: str, typing: CommandInput) -> Json:
    """The `data` of the INTERACTION_CREATE for `/words` with these options. Raises InputRejected."""
    command = commands.find(words.split(maxsplit=1)[0], guild.id)
    if command is None:
        raise InputRejected(f"no command /{words} is registered here")
    path = _descend(command, words)
    declared = {option["name"]: option for option in path[-1].get("options", [])}
    typing.check(words, command, declared)
    resolved: dict[str, Json] = {"users": {}, "members": {}, "attachments": {}}
    options: list[Json] = []
    for name, option in declared.items():
        entry = {"name": name, "type": option["type"]} | ({"focused": True} if name == typing.focused else {})
        if name in typing.uploads:
            attachment = state.store_file(f"ephemeral-attachments/{state.bot.id}", typing.uploads[name])
            resolved["attachments"][str(attachment.id)] = attachment.json() | {"ephemeral": True}
            options.append(entry | {"value": str(attachment.id)})
        elif name in typing.values:
            options.append(entry | {"value": _value(guild, typing.values[name], resolved)})
    for node in reversed(path[1:]):
        options = [{"name": node["name"], "type": node["type"], "options": options}]
    data: Json = {"id": command["id"], "name": command["name"], "type": command["type"], "options": options}
    data |= {"resolved": filled} if (filled := {kind: held for kind, held in resolved.items() if held}) else {}
    return data | ({"guild_id": command["guild_id"]} if "guild_id" in command else {})


def _descend(command: Json, words: str) -> list[Json]:
    path = [command]
    for word in words.split()[1:]:
        inner = [node for node in path[-1].get("options", []) if node["name"] == word and node["type"] in (1, 2)]
        if not inner:
            raise InputRejected(f"/{words}: no subcommand {word}")
        path.append(inner[0])
    return path


def _value(guild: Guild, value: Value, resolved: dict[str, Json]) -> str | int | float | bool:
    if not isinstance(value, User):
        return value
    resolved["users"][str(value.id)] = value.json()
    if value.id in guild.members:
        member = guild.members[value.id].json() | {"permissions": "0"}
        resolved["members"][str(value.id)] = {key: held for key, held in member.items() if key != "user"}
    return str(value.id)


def _check_value(option: Json, value: Value) -> None:
    name = option["name"]
    choices = [choice["value"] for choice in option.get("choices") or []]
    if choices and value not in choices:
        raise InputRejected(f"{name}: {value!r} is none of {choices}")
    size: float | None = None
    match Kind(option["type"]), value:
        case Kind.string, str():
            size, low, high = len(value), option.get("min_length"), option.get("max_length")
        case Kind.integer, int() if not isinstance(value, bool):
            size, low, high = value, option.get("min_value"), option.get("max_value")
        case Kind.number, int() | float() if not isinstance(value, bool):
            size, low, high = value, option.get("min_value"), option.get("max_value")
        case (Kind.boolean, bool()) | (Kind.user | Kind.mentionable, User()):
            return
        case _:
            raise InputRejected(f"{name}: {value!r} is no {Kind(option['type']).name}")
    if (low is not None and size < low) or (high is not None and size > high):
        raise InputRejected(f"{name}: {size} is outside of {low} to {high}")
