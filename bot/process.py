"""The process: runs the worker and the connection to Discord until a signal, then stops cleanly."""

import asyncio
import logging
import signal
from contextlib import suppress
from decimal import Decimal
from importlib.metadata import version

from bot.app import App, open_app
from bot.chat.messages.operator_texts import database_lost
from bot.chat.submission_hold import hold_submissions_while_behind
from bot.chat.transport.client import RestClient, ZoetropeBot, log_in
from bot.chat.transport.connection import stay_connected, until_refused
from bot.chat.transport.delivery import DiscordNotificationSender
from bot.chat.transport.gateway_status import discord_status
from bot.chat.transport.request_throttle import RequestThrottle
from bot.domain.database_url import described
from bot.domain.errors import DeliveryDelayed, OutOfMemory, StoreError
from bot.domain.shards import ShardRange
from bot.operations.memory_watch import MemoryWatch
from bot.settings import Settings
from bot.setup.monitoring import observer_for
from bot.store.maintenance.file_watch import FileWatch, LostFile

log = logging.getLogger(__name__)

_COMMANDS_GRACE_S = 10.0
"""How long commands in progress may take to finish after a stop; the slowest part is decoding a picture."""

_REFUSALS_GRACE_S = 1.0
"""How long the last commands, which are only told that the bot is stopping, may take."""

_STOP_TIMEOUT_S = 30.0
"""How long a stop may take besides the grace of jobs in progress, when the process is out of memory."""

_READY_TIMEOUT_S = 30.0
"""How long submissions wait for Discord's gateway to say which servers the bot is in."""

_TELL_TIMEOUT_S = 30.0
_LAST_TELL_TIMEOUT_S = 5.0
_EXIT_TIMEOUT_S = 3.0
"""How long stopped tasks may take to return; one that still waits for Discord to accept its login never does."""


async def run(
    settings: Settings,
    *,
    commands: bool,
    file_check_s: float,
    works: bool = True,
    shards: ShardRange | None = None,
    ready_timeout_s: float = _READY_TIMEOUT_S,
) -> None:
    """Runs until SIGINT or SIGTERM, then stops cleanly. A second signal ends the process immediately.

    SIGUSR1 logs diagnostics and disturbs nothing. commands: also connect to Discord's gateway and answer commands.
    works: on jobs; without, other processes do. shards: those that it connects; None for as many as Discord says.
    file_check_s: how often a SQLite file is checked to be still there. ready_timeout_s: how long submissions wait
    for the gateway.
    Raises: LoginRefused; OutOfMemory after several such errors; StoreError.
    """
    observer = observer_for(settings)
    throttle = RequestThrottle(observer=observer)
    client = ZoetropeBot(throttle, shards=shards) if commands else RestClient(throttle)
    async with open_app(settings, client, observer) as app:
        if not commands:
            await log_start(app)
            _warn_if_alone(app)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, log_diagnostics)
        stopped = asyncio.create_task(stop_signal())
        running = asyncio.create_task(
            _run_worker_and_gateway(app, commands=commands, works=works, ready_timeout_s=ready_timeout_s)
        )
        watches: set[asyncio.Task[None]] = {
            asyncio.create_task(until_refused(client, client.throttle)),
            asyncio.create_task(_until_out_of_memory(settings.shutdown_grace_seconds)),
        }
        file_watch = _file_watch(app)
        if file_watch is not None:
            watches.add(asyncio.create_task(file_watch.run(file_check_s)))
        await asyncio.wait({running, stopped, *watches}, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopped, *watches):
            task.cancel()
        log.info("stopping: steps in progress have %.0f s to finish", settings.shutdown_grace_seconds)
        # First, as a host may kill the process before the steps are finished; and again, as they take a while.
        await _check_once_more(file_watch)
        await _stop_work(app, settings.shutdown_grace_seconds)
        await _check_once_more(file_watch)
        await app.client.close()
        # Worker and gateway now return by themselves; cancelling them could interrupt a transaction.
        await asyncio.wait({running}, timeout=_EXIT_TIMEOUT_S)
        running.cancel()
        for task in (running, *watches):
            with suppress(asyncio.CancelledError):
                await task
    log.info("stopped")


async def _run_worker_and_gateway(app: App, *, commands: bool, works: bool, ready_timeout_s: float) -> None:
    # Log in first: the worker posts through the client.
    await log_in(app.client, app.settings.discord_token.get_secret_value())
    log.info("logged in as %s", app.client.user)
    if not commands:
        await app.worker.run()
        return
    beside = [asyncio.create_task(_log_start_when_ready(app, ready_timeout_s))]
    if works:
        assert app.guild_events is not None  # noqa: S101 - only with a gateway
        app.worker.hold_submissions()  # before the worker runs
        behind = hold_submissions_while_behind(app.worker, app.store, app.guild_events, app.clock, ready_timeout_s)
        beside.append(asyncio.create_task(behind))
    else:  # otherwise the worker runs them
        beside.extend(asyncio.create_task(service.run()) for service in app.beside_gateway)
    try:
        await asyncio.gather(stay_connected(app.client), *([app.worker.run()] if works else []))
    finally:
        for task in beside:
            task.cancel()


async def _log_start_when_ready(app: App, ready_timeout_s: float) -> None:
    """Logs the start once the gateway has named the servers, or has not within the time limit."""
    with suppress(TimeoutError):
        async with asyncio.timeout(ready_timeout_s):
            await app.client.wait_until_ready()
    await log_start(app)


async def log_start(app: App) -> None:
    """Logs in one line what runs, on what, and within which limits."""
    try:
        budget = await app.monitoring.budget()
        amounts = budget.usd_per_day, budget.usd_per_month
        limits = ", ".join(
            f"{_amount(usd)} a {period}" for usd, period in zip(amounts, ("day", "month"), strict=True)
        )
    except StoreError as error:
        limits = f"unknown ({error})"
    status = discord_status(app.client)
    servers = "" if status.servers is None else f"; {status.servers} servers"
    shards = "" if len(status.shards) < 2 else f"; shards {', '.join(str(one.shard_id) for one in status.shards)}"  # noqa: PLR2004
    port = "" if app.metrics_port is None else f"; metrics on port {app.metrics_port}"
    log.info(
        "zoetrope %s started; database: %s; budget: %s%s%s%s",
        version("zoetrope"),
        described(app.settings.database_url),
        limits,
        servers,
        shards,
        port,
    )


def _warn_if_alone(app: App) -> None:
    """Says what a worker on a SQLite file can't do, as `run` and worker look like two parts of one bot."""
    if app.database.file is not None:
        log.warning(
            "this worker only finishes the jobs that are in %s: while it runs, no `zoetrope run` can use the "
            "file, so nobody can order. To take orders, stop it and start `zoetrope run`, which works on jobs "
            "too; for a worker beside a `run`, set DATABASE_URL to a PostgreSQL database.",
            app.database.file,
        )


def _amount(usd: Decimal | None) -> str:
    return "no limit" if usd is None else f"{usd.normalize():f} USD"


def _file_watch(app: App) -> FileWatch | None:
    """The watch over a SQLite file; None on a server."""
    if app.lock is None:
        return None
    sender, channel_id = DiscordNotificationSender(app.client), app.settings.operator_log_channel_id

    async def tell(lost: LostFile) -> None:
        if channel_id is not None:
            try:
                async with asyncio.timeout(_TELL_TIMEOUT_S):
                    await sender.send(channel_id, database_lost(lost), nonce=lost.nonce)
            except TimeoutError as error:
                raise DeliveryDelayed("Discord doesn't answer") from error

    return FileWatch(app.database, app.lock, tell, clock=app.clock)


async def _check_once_more(file_watch: FileWatch | None) -> None:
    """Saves a file that was lost since the last check: once the process ends, nothing of it is left."""
    if file_watch is None:
        return
    try:
        await file_watch.check()
        async with asyncio.timeout(_LAST_TELL_TIMEOUT_S):
            await file_watch.tell_operator()
    except TimeoutError:
        log.warning("the operator could not be told of the lost database file")
    except StoreError as error:  # another process took it over; this one is stopping anyway
        log.warning("%s", error)


async def _until_out_of_memory(grace_s: float) -> None:
    """Ends only by raising OutOfMemory. From then on, the process dies even if the stop fails as well."""
    loop, exhausted = asyncio.get_running_loop(), asyncio.Event()

    def on_exhausted() -> None:
        loop.call_soon_threadsafe(exhausted.set)

    watch = MemoryWatch(on_exhausted)
    logging.getLogger().addHandler(watch)
    try:
        await exhausted.wait()
    finally:
        logging.getLogger().removeHandler(watch)
    signal.alarm(round(grace_s + _STOP_TIMEOUT_S))  # SIGALRM, which nothing handles, needs no memory
    raise OutOfMemory(
        "The bot ran out of memory several times within a minute and stops. Start it again (a service manager "
        "does so by itself), and give it more memory if this goes on."
    )


async def _stop_work(app: App, grace_s: float) -> None:
    """Ends the intake, then lets jobs and commands in progress finish, for `grace_s` at most."""
    if app.guild_events is None or not isinstance(app.client, ZoetropeBot):
        await app.worker.stop(grace_s)
        return
    interactions = app.client.services.interactions
    await asyncio.gather(app.worker.stop(grace_s), interactions.stop(min(_COMMANDS_GRACE_S, grace_s)))
    await interactions.stop(_REFUSALS_GRACE_S)
    await app.guild_events.stop()


async def stop_signal() -> None:
    """Waits for the first SIGINT or SIGTERM, then restores their default handlers."""
    loop, received = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, received.set)
    try:
        await received.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def log_diagnostics() -> None:
    """Logs the number of asyncio tasks, and how many of them are job stages."""
    tasks = asyncio.all_tasks()
    stages = sum(task.get_name().startswith("job ") for task in tasks)
    log.info("diagnostics: %d tasks, %d of them job stages", len(tasks), stages)
