"""The services of a bot without a database."""

from collections.abc import Iterable, Mapping
from typing import Any

from bot.chat.context import Services
from bot.chat.permissions.command_permissions import CommandPermissions


async def no_command_permissions(guild_id: int, target_id: int) -> Iterable[Mapping[str, Any]]:
    """Command permissions of a Discord where no server has changed them."""
    del guild_id, target_id
    return ()


def some_services(**given: Any) -> Services:
    """The given services; all others are missing."""
    names = ("jobs", "admins", "operator", "privacy", "settings", "extensions", "discord_files", "answers")
    missing: dict[str, Any] = dict.fromkeys(names)
    return Services(**missing | {"command_permissions": CommandPermissions(no_command_permissions)} | given)
