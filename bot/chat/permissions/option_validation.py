"""Checks what a command was sent against what it declares, and parses ids, reasons and pictures.

Discord's client keeps members to the declared options, and discord.py trusts it: it doesn't check lengths, ranges
or choices again. Other clients can send anything, and one that hasn't been restarted for a while sends what the
command took back then.
"""

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import discord
from discord import AppCommandOptionType as Kind
from discord import app_commands

from bot.chat.messages.markdown import one_line
from bot.chat.messages.reason_texts import Said
from bot.chat.posting import DISCORD_FAILED
from bot.domain.errors import NotPossible, PictureRefused
from bot.media.picture_problems import PictureProblem, UnusablePicture
from bot.media.prepared_frame import check_file_size

OUTSIDE = "This only works in a server's channel."
_MISMATCH = (
    "Your Discord app sent me something that doesn't fit this command, so nothing was done: {problem} "
    "Please reload Discord (Ctrl+R) and try again."
)

_NESTED = frozenset({Kind.subcommand.value, Kind.subcommand_group.value})
_RESOLVED = {
    Kind.user: ("users",),
    Kind.channel: ("channels",),
    Kind.role: ("roles",),
    Kind.mentionable: ("users", "roles"),
    Kind.attachment: ("attachments",),
}
"""Where Discord lists the objects that options refer to, by kind of option: only those in the server."""

_ID = re.compile(r"\s*(?:<(?:@[!&]?|#))?(\d{1,19})>?\s*", re.ASCII)
_ID_MAX = 2**63 - 1
_READ_S = 60.0
_READ_PAUSES_S = (0.5, 1.5, 4.0)
"""Before each further attempt to read a picture: Discord announces some before its file servers have them."""
_SHOWN_CHOICES = 10
_TYPED_MAX = 6000
"""The most characters that Discord allows in a text option (its documentation of application commands)."""

Sent = Mapping[str, Any]
AnyCommand = app_commands.Command[Any, Any, Any] | app_commands.ContextMenu


def check(interaction: discord.Interaction[Any]) -> None:
    """Refuses a command, or an autocomplete request, that doesn't match what is declared.

    Raises: NotPossible, naming the option that is wrong.
    """
    data: Any = interaction.data
    command = interaction.command
    if interaction.guild_id is None and not _works_outside(command):
        raise NotPossible(Said(OUTSIDE))
    if isinstance(command, app_commands.ContextMenu):
        _check_target(command, data)
        return
    if not isinstance(command, app_commands.Command):
        raise _mismatch("the command no longer exists.")
    given = _options(data)
    declared = {parameter.display_name: parameter for parameter in command.parameters}
    if unknown := given.keys() - declared.keys():
        raise _mismatch(f"it has no option {_listed(sorted(unknown))}.")
    focused = [sent for sent in given.values() if sent.get("focused")]
    if interaction.type is discord.InteractionType.autocomplete:
        if len(focused) != 1 or not isinstance(focused[0].get("value"), str):
            raise _mismatch("nothing is being typed.")
    elif missing := [name for name, it in declared.items() if it.required and name not in given]:
        raise _mismatch(f"it needs {_listed(missing)}.")
    resolved = None if focused else data.get("resolved") or {}
    for name, sent in given.items():
        if not sent.get("focused") and (expected := _expected_instead(declared[name], sent, resolved)):
            raise _mismatch(f"`{name}` takes {expected}.")


def _works_outside(command: AnyCommand | None) -> bool:
    """Whether the command is declared for direct messages."""
    if command is None:
        return False
    root = command if isinstance(command, app_commands.ContextMenu) else command.root_parent or command
    return root.allowed_contexts is not None and bool(root.allowed_contexts.dm_channel)


def _check_target(command: app_commands.ContextMenu, data: Any) -> None:
    """Refuses a command on a message without that message. Raises: NotPossible."""
    resolved, target_id = data.get("resolved") or {}, data.get("target_id")
    if command.type is not discord.AppCommandType.message or target_id not in (resolved.get("messages") or {}):
        raise _mismatch("the message is missing.")


def _options(data: Any) -> dict[str, Sent]:
    """The options of the innermost command by name."""
    options = data.get("options") or []
    while options and options[0].get("type") in _NESTED:
        options = options[0].get("options") or []
    return {option["name"]: option for option in options}


def _expected_instead(parameter: app_commands.Parameter, sent: Sent, resolved: Sent | None) -> str | None:
    """What the option takes, in words, if this value is something else. resolved: None during autocomplete."""
    value, kind = sent.get("value"), parameter.type
    low, high = parameter.min_value, parameter.max_value
    if sent.get("type") != kind.value:
        return f"a value of another kind ({kind.name})"
    if parameter.choices:
        known = [choice.value for choice in parameter.choices]
        return None if value in known else f"one of {_listed([str(one) for one in known[:_SHOWN_CHOICES]])}"
    match kind:
        case Kind.string:
            most = _TYPED_MAX if high is None else int(high)
            fits = isinstance(value, str) and (low or 0) <= len(value) <= most
            return None if fits else f"{f'{low:g} to' if low else 'up to'} {most} characters"
        case Kind.integer | Kind.number:
            bounds = "" if low is None or high is None else f" from {low:.0f} to {high:.0f}"
            return None if _is_within(kind, value, low, high) else f"a number{bounds}"
        case Kind.boolean:
            return None if isinstance(value, bool) else "yes or no"
        case _:
            return None if _is_resolved(kind, value, resolved) else f"a {kind.name} of this server"


def _is_within(kind: Kind, value: Any, low: float | None, high: float | None) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if kind is Kind.integer else int | float):
        return False
    # Compared as an integer: one with 400 digits does not fit a float.
    return (low is None or value >= low) and (high is None or value <= high)


def _is_resolved(kind: Kind, value: object, resolved: Sent | None) -> bool:
    if not isinstance(value, str) or not (value.isascii() and value.isdigit()) or len(value) > len(str(_ID_MAX)):
        return False
    return resolved is None or any(value in (resolved.get(place) or {}) for place in _RESOLVED[kind])


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _mismatch(problem: str) -> NotPossible:
    return NotPossible(Said(_MISMATCH.format(problem=problem)))


def id_in(typed: str) -> int:
    """The id that was chosen, or typed as a number or a mention. Raises: NotPossible."""
    found = _ID.fullmatch(typed)
    if found is None or int(found[1]) > _ID_MAX:
        raise NotPossible(Said("I don't know which one you mean. Pick one from the list, or enter an id."))
    return int(found[1])


def reason_in(typed: str | None) -> str | None:
    """The reason that was typed, on one line; None if nothing in it is visible."""
    return one_line(typed or "") or None


async def read_picture(attachment: discord.Attachment, pauses_s: Sequence[float] = _READ_PAUSES_S) -> bytes:
    """The attachment's bytes; asks again after each of the pauses, within a minute in total.

    Raises: PictureRefused if it is too large or can't be fetched.
    """
    check_file_size(attachment.size)
    try:
        async with asyncio.timeout(_READ_S):
            for pause_s in pauses_s:
                with contextlib.suppress(*DISCORD_FAILED):
                    data = await attachment.read()
                    if len(data) == attachment.size:  # anything else may be a proxy's page
                        return data
                await asyncio.sleep(pause_s)
            return await attachment.read()
    except DISCORD_FAILED as error:
        raise PictureRefused(UnusablePicture(PictureProblem.NOT_FETCHED)) from error
