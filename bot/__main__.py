"""The command line: `zoetrope …`, also `python -m bot …`.

Parses the arguments, calls one function, and turns errors into readable lines and an exit code: 0 success,
1 failure, 2 wrong usage or settings, 130 interrupted. An operator never sees a traceback for something they can
fix. Each command imports what it needs, once it is chosen: discord.py, SQLAlchemy and the rest take a second to
load, and asyncio alone takes longer than everything that the help needs.
"""

import argparse
import gc
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bot.doctor import CheckResult
    from bot.domain.shards import ShardRange
    from bot.settings import DatabaseSettings
    from bot.store.maintenance.commands import Finding

    _SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no public name

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
ENVIRONMENT = "env:"
"""Begins the name of a variable with a URL, which others can read on the command line of a running process."""

DEMO_PORT, PORT_MAX = 8765, 65_535
DEMO_PROMPT, DEMO_RESOLUTION, DEMO_FILE = "the picture comes to life", "720P", Path("zoetrope.mp4")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # show what it has no character for as standard error does
        sys.stdout.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)

    import asyncio

    from bot.domain.errors import SettingsError, ZoetropeError
    from bot.operations import open_files, process_hardening

    open_files.allow_many()
    if options.command == "demo":
        _check_demo_options(options)
    else:  # the demo's video is the user's own, to share as they like
        process_hardening.keep_private()
    try:
        exit_code: int = asyncio.run(options.call(options))
    except SettingsError as error:
        for problem in error.problems:
            _print_error(problem)
        _print_error("Fix this in the environment or in `.env`. `.env.example` explains each setting.")
        return MISUSED
    except ZoetropeError as error:
        _print_error(str(error))
        return FAILED
    except MemoryError:  # also while it stops for lack of memory
        _print_error("out of memory. Start it again, and give it more memory if this goes on.")
        return FAILED
    except KeyboardInterrupt:
        _print_error("stopped.")
        return INTERRUPTED
    return exit_code


async def _run(options: argparse.Namespace) -> int:
    # What modules consist of stays for good. Searching it for garbage takes a sixth of the time of loading it, and
    # time again whenever the bot's own garbage is looked for.
    gc.disable()
    from bot import process
    from bot.domain.database_url import sqlite_file
    from bot.settings import Settings
    from bot.store.maintenance.file_watch import CHECK_INTERVAL_S

    gc.freeze()
    gc.enable()
    settings = Settings.load()
    _keep_secret(settings)
    commands = options.command == "run"
    shards, works = (options.shards, not options.no_worker) if commands else (None, True)
    if (alone := _needs_company(shards, works=works)) is not None and sqlite_file(
        settings.database_url
    ) is not None:
        _print_error(alone)
        return MISUSED
    await process.run(settings, commands=commands, works=works, shards=shards, file_check_s=CHECK_INTERVAL_S)
    return 0


def _needs_company(shards: "ShardRange | None", *, works: bool) -> str | None:
    """Why a process isn't enough, as other processes have to do the rest; None if it is."""
    share = "Only on PostgreSQL can processes share a database: set DATABASE_URL to one, or leave"
    if shards is not None and not shards.is_all:
        return f"--shards leaves the other shards' servers to other processes. {share} --shards out."
    return None if works else f"--no-worker leaves all jobs to other processes. {share} --no-worker out."


async def _doctor(_: argparse.Namespace) -> int:
    from bot import doctor
    from bot.settings import Settings

    settings = Settings.load()
    _keep_secret(settings)
    return max([_report(result) async for result in doctor.run_checks(settings)])


async def _db(options: argparse.Namespace) -> int:
    from bot.doctor import CheckResult, check_database
    from bot.operations.clock import utc_now
    from bot.settings import DatabaseSettings
    from bot.store.engine import Database
    from bot.store.maintenance import commands
    from bot.store.maintenance.migrate import migrate
    from bot.store.maintenance.process_lock import process_lock

    settings = DatabaseSettings.load()
    url = settings.database_url
    if options.action == "copy":
        return await _db_copy(options, settings)
    _keep_secret(settings)
    match options.action:
        case "check-backup":
            return _report_all(await commands.check_backup(options.file, utc_now()))
        case "upgrade":
            with process_lock(url):
                async with Database.open(url) as database:
                    await migrate(database, clock=utc_now)
        case "backup":
            return _report(CheckResult("backup", await commands.back_up(url, options.file)))
        case "restore":
            text = await commands.restore_backup(url, options.file, utc_now(), resume=options.resume)
            _report(CheckResult("restore", text))
        case "restored":
            _report(CheckResult("restored", await commands.finish_restore(url, utc_now())))
    return _report(await check_database(url))


async def _db_copy(options: argparse.Namespace, settings: "DatabaseSettings") -> int:
    from bot.store.maintenance import commands

    urls = [_url_of(given, settings) for given in (options.source, options.target)]
    _keep_secret(settings, *urls)
    return _report_all(await commands.copy(*urls))


def _url_of(given: str, settings: "DatabaseSettings") -> str:
    """The URL itself, or that in the variable that `env:NAME` names; `env:DATABASE_URL` may also be in `.env`.

    Raises ZoetropeError if there is none.
    """
    import os

    from bot.domain.errors import ZoetropeError

    if not given.startswith(ENVIRONMENT):
        return given
    name = given.removeprefix(ENVIRONMENT)
    url = settings.database_url if name == "DATABASE_URL" else os.environ.get(name, "")
    if not url:
        raise ZoetropeError(f"The environment has no variable {name}.")
    return url


def _keep_secret(settings: "DatabaseSettings", *urls: str) -> None:
    """Keeps the settings' secrets, and those in further URLs, out of the log and of child processes."""
    from bot.domain.database_url import possible_passwords
    from bot.operations import logs, process_hardening

    words = [*settings.secrets(), *(word for url in urls for word in possible_passwords(url) if word)]
    logs.set_up(settings.log_level, words, log_format=settings.log_format)
    process_hardening.forget_variables(settings.secret_names())


async def _demo(options: argparse.Namespace) -> int:
    try:
        from bot.demo import runner
    except ModuleNotFoundError as error:
        from bot.domain.errors import ZoetropeError

        raise ZoetropeError(
            f"The demo needs {error.name}, which isn't installed. In Zoetrope's folder run "
            "`make demo`, or `pip install '.[demo]'` in another environment."
        ) from error
    if options.image is None:
        port = DEMO_PORT if options.port is None else options.port
        return await runner.in_browser(port=port, or_free=options.port is None)
    return await runner.on_command_line(
        options.image,
        DEMO_PROMPT if options.prompt is None else options.prompt,
        options.out or DEMO_FILE,
        resolution=options.resolution or DEMO_RESOLUTION,
    )


def _check_demo_options(options: argparse.Namespace) -> None:
    """Exits with 2 for options that would have no effect together."""
    if options.image is not None and options.port is not None:
        options.misused("--port is for the demo in the browser, and --image makes a video without one")
    for name in ("prompt", "resolution", "out"):
        if options.image is None and getattr(options, name) is not None:
            options.misused(f"--{name} needs --image: without it the demo runs in the browser, where you enter it")


def _report(result: "CheckResult") -> int:
    """Prints the result of a check; returns the exit code that it stands for."""
    sys.stdout.write(f"{result.status:<4} {result.subject}: {result.text}\n")
    sys.stdout.flush()
    return FAILED if result.failed else 0


def _report_all(findings: "Iterable[Finding]") -> int:
    """Prints what a command found; returns the exit code that the worst of it stands for."""
    from bot.doctor import CheckResult, CheckStatus

    def status(finding: "Finding") -> CheckStatus:
        if finding.is_wrong:
            return CheckStatus.FAILED
        return CheckStatus.WARNING if finding.is_warning else CheckStatus.OK

    return max([_report(CheckResult(one.subject, one.text, status(one))) for one in findings])


def _print_error(line: str) -> None:
    sys.stderr.write(f"zoetrope: {line}\n")


def _port(text: str) -> int:
    port = int(text) if text.isdecimal() else -1
    if not 0 <= port <= PORT_MAX:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to {PORT_MAX} (0: any free port)")
    return port


def _shards(text: str) -> "ShardRange":
    from bot.domain.shards import ShardRange

    try:
        return ShardRange.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


class _Version(argparse.Action):
    """Prints the version, which takes longer to find out than all else that is parsed."""

    def __init__(self, option_strings: "Sequence[str]", dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Called by argparse."""
        from importlib import metadata

        sys.stdout.write(f"zoetrope {metadata.version('zoetrope')}\n")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zoetrope", description="A Discord bot that turns a member's picture and prompt into a short video."
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = _add_command(commands, "run", "run the bot: answer commands and work on jobs")
    worker = _add_command(
        commands, "worker", "only work on jobs, alongside a `run` on the same PostgreSQL database"
    )
    doctor = _add_command(commands, "doctor", "check settings, database, gateway and Discord; makes no video")
    db = _add_command(commands, "db", "check, upgrade, back up or restore the database")
    demo = _add_command(commands, "demo", "try the whole bot on this machine, without a token or a key")
    calls = {run: _run, worker: _run, doctor: _doctor, db: _db, demo: _demo}
    for command, call in calls.items():
        command.set_defaults(call=call)
    _add_db_actions(db)
    run.add_argument(
        "--shards",
        type=_shards,
        metavar="A-B/N",
        help="connect only the shards A to B of N, counted from 0, or A/N for a single one, and leave the others "
        "to other processes (default: all that Discord recommends)",
    )
    run.add_argument("--no-worker", action="store_true", help="work on no jobs, as `zoetrope worker`s do that")
    demo.add_argument(
        "--port", type=_port, help=f"port of the demo's page (default: {DEMO_PORT}, or any free one)"
    )
    demo.set_defaults(misused=demo.error)
    without_browser = demo.add_argument_group("without a browser")
    without_browser.add_argument(
        "--image", type=Path, help="make one video of this picture and stop; all that follows is optional"
    )
    without_browser.add_argument(
        "--prompt", help=f"what should happen in the video (default: {DEMO_PROMPT}; the demo's model ignores it)"
    )
    without_browser.add_argument(
        "--resolution", choices=["480P", "720P"], help=f"of the video (default: {DEMO_RESOLUTION})"
    )
    without_browser.add_argument(
        "--out", type=Path, help=f"the file for the video (default: {DEMO_FILE}); an earlier one is replaced"
    )
    return parser


def _add_db_actions(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_command(actions, "status", "check that the database exists, is intact, can be written and is up to date")
    _add_command(actions, "upgrade", "upgrade the schema to this version; keeps a copy of a SQLite file")
    backup = _add_command(actions, "backup", "copy a SQLite database, even while the bot runs")
    backup.add_argument("file", type=Path, metavar="FILE", help="the copy; an existing file is never overwritten")
    restore = _add_command(actions, "restore", "replace the SQLite database with a backup")
    restore.add_argument("file", type=Path, metavar="FILE", help="the backup")
    restore.add_argument(
        "--resume",
        action="store_true",
        help="continue the jobs in the backup: only if the bot has not run since it was made",
    )
    check = _add_command(
        actions, "check-backup", "rehearse the restore of a SQLite backup in a temporary folder; changes nothing"
    )
    check.add_argument("file", type=Path, metavar="FILE", help="the backup")
    copy = _add_command(actions, "copy", "copy everything to an empty database, also from SQLite to PostgreSQL")
    for name in ("source", "target"):
        copy.add_argument(
            name, metavar=name.upper(), help="its URL as in DATABASE_URL, or env:NAME for one in that variable"
        )
    _add_command(
        actions, "restored", "after a restore with another tool (pg_restore): end the jobs that were in progress"
    )


def _add_command(commands: "_SubParsers", name: str, text: str) -> argparse.ArgumentParser:
    """A command. text: what it does, for the list of commands and for its own help."""
    return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")


if __name__ == "__main__":
    sys.exit(main())
