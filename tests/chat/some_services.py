"""The services of a bot without a database."""

from collections.abc import Iterable, Mapping
from typing import Any

from bot.chat.context import Services
from bot.chat.permissions.command_permissions import CommandPermissions


async def nothing_set(guild_id: int, target_id: int) -> Iterable[Mapping[str, Any]]:
    """A Discord where no server has changed who may use the commands."""
    del guild_id, target_id
    return ()


def some_services(**given: Any) -> Services:
    """Services of which only those that are given are there."""
    missing: dict[str, Any] = dict.fromkeys(("jobs", "admins", "operator", "privacy"))
    return Services(**missing | {"command_permissions": CommandPermissions(nothing_set)} | given)
