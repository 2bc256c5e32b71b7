"""`zoetrope doctor`: checks everything that a start needs, at no cost, and says how to fix each problem."""

import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from bot.chat.doctor_checks import DiscordChecks
from bot.chat.transport.endpoints import redirect
from bot.domain.database_url import sqlite_file
from bot.domain.errors import DeliveryError, LoginRefused, StoreError, UpstreamClosed, UpstreamError
from bot.domain.jobs import DEFAULT_DURATION_S, DEFAULT_MODEL, ProviderName
from bot.domain.models import TaskKind
from bot.domain.money import show_usd
from bot.media.sandbox import Protection, missing_protections
from bot.operations import process_hardening
from bot.providers.base import Provider
from bot.settings import PUBLISHED_MAX_RUNNING, PUBLISHED_SUBMITS_PER_SECOND, Settings
from bot.setup.providers import dashscope_client, prices_usd, vtrix_client
from bot.store import operator_reports
from bot.store.engine import Database
from bot.store.maintenance.migrate import schema_status
from bot.store.maintenance.scheduled_backups import folder_owner, folder_problem
from bot.store.maintenance.schema_version import SchemaStatus
from bot.store.money.ledger import PRICE_FROM
from bot.store.sqlite_files import refuse_unreachable

_PRICE_TOLERANCE = Decimal("0.25")
"""How far the price in the settings may be from what videos cost, as a share of it."""

_PROBE_BYTES = 4096
"""Written to a file that is created as a check: a full disk often has room for an empty one."""


_UNPROTECTED = {
    Protection.CONFINEMENT: (
        "only Linux can keep the processes that open members' pictures and videos from files and the network. "
        "A bot that strangers can use should run on Linux."
    ),
    Protection.LANDLOCK: (
        "this system has no Landlock, so a video that takes over the encoder could read all files of this user. "
        "Use Linux 5.13 or newer, with `landlock` among the security modules that it starts with (`lsm=`), and a "
        "container that allows it."
    ),
    Protection.SECCOMP: (
        "system calls can't be restricted here (seccomp), so a file that takes over the decoder or encoder could "
        "reach other processes and the network. Use x86_64 or aarch64, and a kernel and a container that allow "
        "seccomp filters."
    ),
}
"""What it means that the processes that open pictures and videos are not confined, and the fix."""


class CheckStatus(StrEnum):
    """How a check ended, as the report shows it."""

    OK = "ok"
    WARNING = "warn"  # the bot works all the same
    FAILED = "FAIL"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of the report. `text`: what was found and, for a problem, how to fix it."""

    subject: str
    text: str
    status: CheckStatus = CheckStatus.OK

    @property
    def failed(self) -> bool:
        """Whether a start would fail, or the bot would not do its work."""
        return self.status is CheckStatus.FAILED


def _failed(subject: str, text: str) -> CheckResult:
    return CheckResult(subject, text, CheckStatus.FAILED)


def _result(subject: str, problem: str | None, *, fine: str) -> CheckResult:
    return CheckResult(subject, fine) if problem is None else _failed(subject, problem)


async def run_checks(
    settings: Settings, *, missing: Callable[[], Iterable[Protection]] = missing_protections
) -> AsyncIterator[CheckResult]:
    """Runs all checks, one after the other, quick ones first. missing: what the sandbox lacks on this system."""
    yield CheckResult("settings", "complete and valid.")
    exposures = process_hardening.exposures(sqlite_file(settings.database_url))
    unprotected = (_UNPROTECTED[protection] for protection in missing())
    for warning in (*exposures, *unprotected):
        yield CheckResult("host", warning, CheckStatus.WARNING)
    database = await check_database(settings.database_url)
    yield database
    if settings.backup_dir is not None:
        yield check_backups(settings.backup_dir, sqlite_file(settings.database_url))
    if settings.vtrix_api_key is not None:
        async with vtrix_client(settings, settings.vtrix_api_key.get_secret_value()) as gateway:
            yield await _check_provider("upstream", gateway, "VTRIX")
    if settings.dashscope_api_key is not None:
        async with dashscope_client(settings, settings.dashscope_api_key.get_secret_value()) as client:
            yield await _check_provider("dashscope", client, "DASHSCOPE")
    for subject, difference in _differences(settings):
        yield CheckResult(subject, difference, CheckStatus.WARNING)
    if not database.failed:
        async for difference in _price_differences(settings):
            yield CheckResult("prices", difference, CheckStatus.WARNING)
    async for result in _check_discord(settings):
        yield result


def check_backups(folder: Path, file: Path | None) -> CheckResult:
    """Checks that scheduled backups of this file can be written, and are the only ones. Leaves no file behind."""
    problem = folder_problem(folder)
    wrong = problem and f"{folder} can't be written: {problem}. Create it, or name another folder in BACKUP_DIR."
    if not wrong and file is not None and (other := folder_owner(folder, file)):
        wrong = f"{folder} has the backups of {other}. Name another folder in BACKUP_DIR."
    return _result("backups", wrong, fine="the folder for scheduled backups can be written.")


async def check_database(database_url: str) -> CheckResult:
    """Checks that the database exists, can be written and has this version's schema. Leaves no new file behind."""
    file = sqlite_file(database_url)
    if file is not None and not _exists(file):
        try:
            refuse_unreachable(file)
        except StoreError as error:
            return _failed("database", _sentence(error))
        return _check_place(file)
    texts = {
        SchemaStatus.CURRENT: "reachable and up to date.",
        SchemaStatus.EMPTY: "reachable and empty; the first start sets it up.",
        SchemaStatus.BEHIND: "reachable, from an older version; the next start upgrades it.",
        SchemaStatus.NEWER: "from a newer version of Zoetrope: install that version.",
    }
    try:
        async with Database.open(database_url) as database:
            status = await schema_status(database)
            if file is not None or status is not SchemaStatus.CURRENT:
                await database.check_writable()
    except StoreError as error:
        return _failed("database", _sentence(error))
    result = CheckStatus.FAILED if status is SchemaStatus.NEWER else CheckStatus.OK
    return CheckResult("database", texts[status], result)


def _check_place(file: Path) -> CheckResult:
    """Checks that the file could be created, by creating another one there and removing it.

    Opening the database would create it. `os.access` isn't enough: it says that root may write anywhere, also in
    /proc and on a read-only disk.
    """
    file = Path(os.path.realpath(file))  # of a dangling link, the start creates the target
    folder = next(filter(_exists, file.parents))
    try:
        with ExitStack() as stack:
            within = folder
            if within != file.parent:  # the first start creates folders too
                within = Path(stack.enter_context(TemporaryDirectory(prefix=".zoetrope-", dir=folder)))
            # As long a name as that of the lock file, the longest that a start creates.
            probe = within / f"{file.name}.{secrets.token_hex(2)}"
            with probe.open("xb") as created:
                stack.callback(probe.unlink)
                created.write(bytes(_PROBE_BYTES))
    except OSError as error:
        return _failed(
            "database",
            f"{file} does not exist and can't be created in {folder}: {error.strerror}. Choose another path in "
            "DATABASE_URL, or give this user write access to it.",
        )
    return CheckResult("database", f"{file} does not exist yet; the first start creates it.")


async def _check_provider(subject: str, client: Provider, settings_begin: str) -> CheckResult:
    """Whether a provider answers and accepts its key. settings_begin: how the names of its settings begin."""
    try:
        await client.check()
    except UpstreamClosed as error:
        advice = f"Check {settings_begin}_API_KEY and the account's balance."
        return _failed(subject, f"{_sentence(error)} {advice}")
    except UpstreamError as error:
        advice = f"Check {settings_begin}_BASE_URL and this machine's network."
        return _failed(subject, f"{_sentence(error)} {advice}")
    return CheckResult(subject, "answers and accepts the key (no video was made).")


def _differences(settings: Settings) -> Iterator[tuple[str, str]]:
    """Where the settings allow more than the model's maker does, each with its subject."""
    found = []
    if settings.vtrix_api_key is not None:
        limits = settings.upstream_max_running, settings.upstream_submits_per_second
        found.append(("upstream", "UPSTREAM", "the Vtrix gateway", *limits))
    if settings.dashscope_api_key is not None:
        limits = settings.dashscope_max_running, settings.dashscope_submits_per_second
        found.append(("dashscope", "DASHSCOPE", "DashScope", *limits))
    for subject, settings_begin, name, max_running, submits_per_second in found:
        for setting, value, published, unit in (
            ("MAX_RUNNING", max_running, PUBLISHED_MAX_RUNNING, "tasks at once"),
            ("SUBMITS_PER_SECOND", submits_per_second, PUBLISHED_SUBMITS_PER_SECOND, "new tasks per second"),
        ):
            if value > published:
                difference = (
                    f"{settings_begin}_{setting} is {value:g}, but the model's maker allows {published:g} {unit}. "
                    f"Unless your account allows more, {name} will answer 429 and videos wait longer."
                )
                yield subject, difference


async def _price_differences(settings: Settings) -> AsyncIterator[str]:
    """Where the Vtrix gateway's prices in the settings are far from what recent videos cost.

    DashScope names no costs: what is known of them comes from the settings.
    """
    if settings.vtrix_api_key is None:
        return
    file = sqlite_file(settings.database_url)
    if file is not None and not _exists(file):
        return
    async with Database.open(settings.database_url) as database, database.read() as connection:
        if await schema_status(database) is not SchemaStatus.CURRENT:
            return
        learned = await operator_reports.learned_prices(connection)
    for resolution, price in prices_usd(settings).items():
        recent = learned.get(TaskKind(ProviderName.VTRIX, DEFAULT_MODEL, resolution, DEFAULT_DURATION_S))
        if recent is None or recent.tasks < PRICE_FROM:
            continue
        if abs(recent.usd - price) > price * _PRICE_TOLERANCE:
            yield (
                f"PRICE_USD_{resolution} is {show_usd(price)}, but the last {recent.tasks} videos cost "
                f"{show_usd(recent.usd)} on average. Set it to that."
            )


async def _check_discord(settings: Settings) -> AsyncIterator[CheckResult]:
    checks = DiscordChecks()
    with redirect(settings.discord_api_url, settings.discord_gateway_url):
        try:
            yield CheckResult("discord", await checks.log_in(settings.discord_token.get_secret_value()))
            yield CheckResult("shards", await checks.shards())
            async for server, problem in checks.servers():
                yield _result(f"server {server}", problem, fine="all permissions granted.")
            async for result in _check_operator(settings, checks):
                yield result
        except LoginRefused as error:
            yield _failed("discord", _sentence(error))
        except DeliveryError as error:
            proxy = "" if settings.discord_api_url is None else ", and DISCORD_API_URL"
            yield _failed("discord", f"{_sentence(error)} Check this machine's network{proxy}, and try again.")
        finally:
            await checks.close()


async def _check_operator(settings: Settings, checks: DiscordChecks) -> AsyncIterator[CheckResult]:
    """Checks the operator's server, users and log channel, as far as they are set."""
    if settings.operator_guild_id is not None:
        problems = await checks.operator_problems(settings.operator_guild_id, settings.operator_user_ids)
        if not problems:
            yield CheckResult("operator", "`/operator` works in your server.")
        for problem in problems:
            yield _failed("operator", problem)
    if settings.operator_log_channel_id is not None:
        why = await checks.log_channel_problem(settings.operator_log_channel_id)
        yield _result("operator's log", why, fine="the bot can post in your log channel.")


def _exists(path: Path) -> bool:
    """Whether the path exists, as far as this user may see."""
    return os.access(path, os.F_OK)


def _sentence(error: Exception) -> str:
    """The error's text, ending in exactly one full stop."""
    return f"{str(error).rstrip('. ')}."
