"""The composition root: opens what must be open, hands it down, closes it in order.

Settings are read here and become plain values; below this module nobody knows them.
"""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bot.chat.client import Client, ZoetropeBot, log_in, rest_client, stay_connected
from bot.chat.delivery import Delivery
from bot.chat.endpoints import Endpoints, redirect
from bot.quotas import Limits
from bot.schedule import LookPolicy
from bot.scratch import scratch
from bot.service import Service
from bot.settings import Settings
from bot.steps import Policy, Tools
from bot.store.engine import Database
from bot.store.jobs import JobStore
from bot.upstream.vtrix import BodyForm, Timeouts, Vtrix
from bot.worker import Pace, Worker

log = logging.getLogger(__name__)


SUBMIT_S = 60.0
"""How long a create may take. Shorter than the default grace of a stop: cut off, its outcome would be unknown."""


_LAST_WORDS_S = 3.0
"""How long a stopped loop may take to notice; a start that still waits for Discord never does."""


def utc_now() -> datetime:
    """The clock of the whole program."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class App:
    """What is open. `client` is not logged in yet."""

    settings: Settings
    client: Client
    database: Database
    store: JobStore
    worker: Worker
    service: Service


def provider(settings: Settings) -> Vtrix:
    """The upstream's client, to be entered."""
    return Vtrix(
        settings.vtrix_base_url,
        settings.vtrix_api_key.get_secret_value(),
        body=BodyForm(settings.upstream_body),
        timeouts=Timeouts(submit_s=SUBMIT_S),
        max_result_bytes=settings.upstream_result_max_bytes,
    )


def endpoints(settings: Settings) -> Endpoints:
    """Where Discord is reached."""
    return Endpoints(settings.discord_api_url, settings.discord_gateway_url)


@asynccontextmanager
async def open_app(settings: Settings, client: Client) -> AsyncIterator[App]:
    """Opens everything but the connection to Discord; closes it in the opposite order.

    Raises: StoreError.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(redirect(endpoints(settings)))
        database = await stack.enter_async_context(Database.open(settings.database_url))
        await database.migrate()
        folder = stack.enter_context(scratch())
        store = JobStore(database)
        tools = Tools(
            provider=await stack.enter_async_context(provider(settings)),
            messenger=Delivery(client),
            desk=store,
            policy=Policy(
                job_timeout=timedelta(seconds=settings.job_timeout_seconds),
                task_lifetime=timedelta(seconds=settings.upstream_task_lifetime_seconds),
                looks=LookPolicy(settings.poll_min_seconds, settings.poll_max_seconds),
            ),
            clock=utc_now,
            folder=folder,
        )
        pace = Pace(
            max_running=settings.upstream_max_running,
            submit_pause=timedelta(seconds=1 / settings.upstream_submits_per_second),
        )
        worker = Worker(store, tools, pace)
        limits = Limits(settings.quota_videos_per_day, settings.quota_running)
        service = Service(store, limits=limits, wake=worker.wake, clock=utc_now)
        if isinstance(client, ZoetropeBot):
            client.service = service
        stack.push_async_callback(client.close)
        yield App(settings, client, database, store, worker, service)


async def run(settings: Settings, *, commands: bool) -> None:
    """Runs until SIGINT or SIGTERM, then stops cleanly; a second signal ends it at once.

    commands: connect to the gateway and answer commands; without, only the worker runs.
    Raises: LoginRefused, StoreError.
    """
    client = ZoetropeBot() if commands else rest_client()
    async with open_app(settings, client) as app:
        stop = asyncio.create_task(signalled())
        parts = asyncio.create_task(_run_parts(app, commands=commands))
        await asyncio.wait({parts, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        log.info("stopping: no new work is taken; steps under way get %.0f s", settings.shutdown_grace_seconds)
        await app.worker.stop(settings.shutdown_grace_seconds)
        await app.client.close()
        # The loop and the gateway end by themselves now; to cut them off would break a transaction off.
        await asyncio.wait({parts}, timeout=_LAST_WORDS_S)
        parts.cancel()
        with suppress(asyncio.CancelledError):
            await parts
    log.info("stopped")


async def _run_parts(app: App, *, commands: bool) -> None:
    # Logged in first: the worker posts through the client.
    await log_in(app.client, app.settings.discord_token.get_secret_value())
    log.info("logged in as %s", app.client.user)
    running = [app.worker.run()]
    if commands:
        running.append(stay_connected(app.client))
    await asyncio.gather(*running)


async def signalled() -> None:
    """Returns at the first SIGINT or SIGTERM; from then on they do again what they do by themselves."""
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, came.set)
    try:
        await came.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
