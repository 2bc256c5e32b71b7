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

from bot import app, doctor, log
from bot.errors import SettingsError, ZoetropeError
from bot.settings import DatabaseSettings, Settings
from bot.store.engine import Database

FAILED, MISCALLED, INTERRUPTED = 1, 2, 130
DEMO_PORT, PORT_MAX = 8765, 65_535


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; its exit code."""
    options = _parser().parse_args(arguments)
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
            return _db(options.action)
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
    sys.stdout.write(f"{'ok  ' if finding.well else 'FAIL'} {finding.subject}: {finding.text}\n")
    sys.stdout.flush()
    return 0 if finding.well else FAILED


async def _db(action: str) -> int:
    settings = DatabaseSettings.load()
    log.set_up(settings.log_level, settings.secrets())
    if action == "upgrade":
        async with Database.open(settings.database_url) as database:
            await database.migrate()
    return _report(await doctor.database(settings.database_url))


async def _demo(options: argparse.Namespace) -> int:
    try:
        from bot.demo import show  # noqa: PLC0415 - the demo's parts are installed with its extra only
    except ModuleNotFoundError as error:
        raise ZoetropeError(
            f"The demo needs {error.name}, which is not installed: `pip install 'zoetrope[demo]'`, or `make demo`."
        ) from error
    if options.image is None:
        port = DEMO_PORT if options.port is None else options.port
        return await show.in_browser(port=port, or_free=options.port is None)
    return await show.on_command_line(options.image, options.prompt, options.out, resolution=options.resolution)


def _settings() -> Settings:
    settings = Settings.load()
    log.set_up(settings.log_level, settings.secrets())
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
    db = commands.add_parser("db", help="the database's schema")
    db.add_argument("action", choices=["status", "upgrade"])
    demo = commands.add_parser("demo", help="the whole bot on this machine, without token or key")
    demo.add_argument(
        "--port", type=_port, help=f"of the page for the browser ({DEMO_PORT}, or a free one where that is taken)"
    )
    demo.add_argument("--image", type=Path, help="no browser: animate this picture")
    demo.add_argument("--prompt", default="the picture comes to life", help="what should happen in the video")
    demo.add_argument("--resolution", choices=["480P", "720P"], default="720P")
    demo.add_argument("--out", type=Path, default=Path("zoetrope.mp4"), help="where the video goes (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
