"""`zoetrope doctor`: checks everything a start needs, costs nothing, and says what to do about each problem."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from bot.app import endpoints, provider
from bot.chat.doctor_checks import Inspection
from bot.chat.transport.endpoints import redirect
from bot.domain.errors import DeliveryError, LoginRefused, StoreError, UpstreamClosed, UpstreamError
from bot.operations import process_hardening
from bot.settings import Settings, sqlite_file
from bot.store.engine import Database
from bot.store.maintenance.migrate import schema_status
from bot.store.maintenance.schema_version import SchemaStatus


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `text`: what was found and, where it is not well, what to do.

    bearable: the bot does its work all the same.
    """

    subject: str
    text: str
    well: bool = True
    bearable: bool = False


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """All findings, one after the other, the quick ones first."""
    yield Finding("settings", "complete and well-formed.")
    for exposure in process_hardening.exposures(sqlite_file(settings.database_url)):
        yield Finding("host", exposure, well=False, bearable=True)
    yield await database(settings.database_url)
    yield await _upstream(settings)
    async for finding in _discord(settings):
        yield finding


async def database(database_url: str) -> Finding:
    """Whether the database is there and its schema this program's. Makes nothing."""
    file = sqlite_file(database_url)
    if file is not None and not _is_there(file):
        return _not_there_yet(file.absolute())
    advice = {
        SchemaStatus.CURRENT: "reachable and up to date.",
        SchemaStatus.EMPTY: "reachable and empty; the first start sets it up.",
        SchemaStatus.BEHIND: "reachable, of an older version; the next start upgrades it.",
        SchemaStatus.NEWER: "of a newer version than this program: install the newer Zoetrope.",
    }
    try:
        async with Database.open(database_url) as opened:
            status = await schema_status(opened)
    except StoreError as error:
        return Finding("database", _sentence(error), well=False)
    return Finding("database", advice[status], well=status is not SchemaStatus.NEWER)


def _not_there_yet(file: Path) -> Finding:
    """Opening the file would make it, and a doctor leaves no trace."""
    folder = next(filter(_is_there, file.parents))
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return Finding("database", f"{file} is not there yet; the first start makes it.")
    text = f"{file} is not there, and this user can't write in {folder}. Choose another place in DATABASE_URL."
    return Finding("database", text, well=False)


async def _upstream(settings: Settings) -> Finding:
    try:
        async with provider(settings) as vtrix:
            await vtrix.check()
    except UpstreamClosed as error:
        return Finding(
            "upstream", f"{_sentence(error)} Check VTRIX_API_KEY and the account's balance.", well=False
        )
    except UpstreamError as error:
        text = f"{_sentence(error)} Check VTRIX_BASE_URL and the way out of this machine."
        return Finding("upstream", text, well=False)
    return Finding("upstream", "answers and takes the key (no video was made).")


async def _discord(settings: Settings) -> AsyncIterator[Finding]:
    inspection = Inspection()
    with redirect(endpoints(settings)):
        try:
            yield Finding("discord", await inspection.log_in(settings.discord_token.get_secret_value()))
            async for server, lacking in inspection.lacking():
                if lacking:
                    text = f"the bot lacks {', '.join(lacking)}; give them to its role, or invite it anew."
                    yield Finding(f"server {server}", text, well=False)
                else:
                    yield Finding(f"server {server}", "all permissions are there.")
            async for finding in _operator(settings, inspection):
                yield finding
        except (LoginRefused, DeliveryError) as error:
            yield Finding("discord", _sentence(error), well=False)
        finally:
            await inspection.close()


async def _operator(settings: Settings, inspection: Inspection) -> AsyncIterator[Finding]:
    """Whether the operator can be served and told, where that was set."""
    if settings.operator_guild_id is not None:
        problems = await inspection.why_no_operator(settings.operator_guild_id, settings.operator_user_ids)
        if not problems:
            yield Finding("operator", "`/operator` works in the operator's server.")
        for problem in problems:
            yield Finding("operator", problem, well=False)
    if settings.operator_log_channel_id is not None:
        why = await inspection.why_unpostable(settings.operator_log_channel_id)
        text = "the bot can post in the operator's log channel." if why is None else why
        yield Finding("operator's log", text, well=why is None)


def _is_there(path: Path) -> bool:
    """False, too, where this user may not look."""
    return os.access(path, os.F_OK)


def _sentence(error: Exception) -> str:
    """What the error says, with one full stop, whether it brought its own or not."""
    return f"{str(error).rstrip('. ')}."
