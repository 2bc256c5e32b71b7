"""The command line: `zoetrope …`, also `python -m bot …`.

Parses, calls one function, turns what went wrong into readable lines and an exit code: 0 well, 1 failed,
2 wrongly called or set up, 130 interrupted. Never a traceback for something an operator can mend.
"""

import argparse
import asyncio
import sys
from collections.abc import Coroutine
from importlib import metadata
from pathlib import Path
from typing import Any

from bot import app, doctor
from bot.domain.errors import SettingsError, ZoetropeError
from bot.operations import logs, process_hardening
from bot.operations.clock import utc_now
from bot.settings import DatabaseSettings, Settings
from bot.store.engine import Database
from bot.store.maintenance import commands
from bot.store.maintenance.migrate import migrate
from bot.store.maintenance.process_lock import process_lock

FAILED, MISCALLED, INTERRUPTED = 1, 2, 130
DEMO_PORT, PORT_MAX = 8765, 65_535


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; its exit code."""
    options = _parser().parse_args(arguments)
    if options.command != "demo":  # whose video is the user's, to share as they like
        process_hardening.keep_private()
    try:
        return asyncio.run(_chosen(options))
    except SettingsError as error:
        for problem in error.problems:
            _complain(problem)
        _complain("Mend this in the environment or in `.env`; `.env.example` explains each setting.")
        return MISCALLED
    except ZoetropeError as error:
        _complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        _complain("stopped.")
        return INTERRUPTED


def _chosen(options: argparse.Namespace) -> Coroutine[Any, Any, int]:
    match options.command:
        case "run":
            return _run(commands=True)
        case "worker":
            return _run(commands=False)
        case "doctor":
            return _doctor()
        case "db":
            return _db(options)
        case _:
            return _demo(options)


async def _run(*, commands: bool) -> int:
    settings = _settings()
    await app.run(settings, commands=commands)
    return 0


async def _doctor() -> int:
    """Every finding on its line; fails where one is not well."""
    codes = [_report(finding) async for finding in doctor.examine(_settings())]
    return max(codes)


def _report(finding: doctor.Finding) -> int:
    """Prints a finding; the exit code it stands for."""
    verdict = "ok  " if finding.well else "warn" if finding.bearable else "FAIL"
    sys.stdout.write(f"{verdict} {finding.subject}: {finding.text}\n")
    sys.stdout.flush()
    return 0 if finding.well or finding.bearable else FAILED


async def _db(options: argparse.Namespace) -> int:
    settings = DatabaseSettings.load()
    logs.set_up(settings.log_level, settings.secrets())
    url = settings.database_url
    match options.action:
        case "upgrade":
            with process_lock(url):
                async with Database.open(url) as database:
                    await migrate(database, clock=utc_now)
        case "backup":
            return _report(doctor.Finding("backup", await commands.back_up(url, options.file)))
        case "restore":
            told = await commands.bring_back(url, options.file, utc_now(), resume=options.resume)
            _report(doctor.Finding("restore", told))
        case "restored":
            _report(doctor.Finding("restored", await commands.brought_back(url, utc_now())))
    return _report(await doctor.database(url))


async def _demo(options: argparse.Namespace) -> int:
    try:
        from bot.demo import runner  # noqa: PLC0415 - the demo's parts are installed with its extra only
    except ModuleNotFoundError as error:
        raise ZoetropeError(
            f"The demo needs {error.name}, which is not installed: `pip install 'zoetrope[demo]'`, or `make demo`."
        ) from error
    if options.image is None:
        port = DEMO_PORT if options.port is None else options.port
        return await runner.in_browser(port=port, or_free=options.port is None)
    return await runner.on_command_line(options.image, options.prompt, options.out, resolution=options.resolution)


def _settings() -> Settings:
    settings = Settings.load()
    logs.set_up(settings.log_level, settings.secrets())
    return settings


def _complain(line: str) -> None:
    sys.stderr.write(f"zoetrope: {line}\n")


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= PORT_MAX:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to {PORT_MAX}, 0 for a free one")
    return port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zoetrope", description="A Discord bot that turns a member's picture and prompt into a short video."
    )
    parser.add_argument("--version", action="version", version=f"zoetrope {metadata.version('zoetrope')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="the bot: answers commands and looks after the jobs")
    commands.add_parser("worker", help="only looks after the jobs, beside a `run` on the same PostgreSQL database")
    commands.add_parser("doctor", help="checks settings, database, upstream and Discord; makes no video")
    _add_database(commands.add_parser("db", help="the database: its schema, backups of it"))
    demo = commands.add_parser("demo", help="the whole bot on this machine, without token or key")
    demo.add_argument(
        "--port", type=_port, help=f"of the page for the browser ({DEMO_PORT}, or a free one where that is taken)"
    )
    demo.add_argument("--image", type=Path, help="no browser: animate this picture")
    demo.add_argument("--prompt", default="the picture comes to life", help="what should happen in the video")
    demo.add_argument("--resolution", choices=["480P", "720P"], default="720P")
    demo.add_argument("--out", type=Path, default=Path("zoetrope.mp4"), help="where the video goes (%(default)s)")
    return parser


def _add_database(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("status", help="whether it is there, whole, and of this version")
    actions.add_parser("upgrade", help="brings the schema to this version; a copy of the file is kept before")
    backup = actions.add_parser("backup", help="copies a SQLite database, also while the bot runs")
    backup.add_argument("file", type=Path, metavar="FILE", help="the copy's name; nothing is overwritten")
    restore = actions.add_parser("restore", help="puts a backup in the place of the SQLite database")
    restore.add_argument("file", type=Path, metavar="FILE", help="the backup")
    restore.add_argument(
        "--resume",
        action="store_true",
        help="the bot did not run since the backup was made: what was under way goes on",
    )
    actions.add_parser(
        "restored", help="after a restore by other means (pg_restore): what was under way is not begun again"
    )


if __name__ == "__main__":
    sys.exit(main())
