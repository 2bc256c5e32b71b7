"""The composition root: opens what must be open, hands it down, closes it in order.

Settings are read here and become plain values; below this module nobody knows them.
"""

import asyncio
import logging
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from bot.chat.context import Services
from bot.chat.guild_events import GuildEvents
from bot.chat.messages.notification_texts import render
from bot.chat.permissions.command_permissions import CommandPermissions, asking
from bot.chat.transport.client import Client, ZoetropeBot, log_in, rest_client
from bot.chat.transport.connection import stay_connected, until_refused
from bot.chat.transport.delivery import Delivery
from bot.chat.transport.endpoints import Endpoints, redirect
from bot.chat.transport.notification_sender import DiscordNotificationSender
from bot.chat.views.approval_cards import ApprovalCards
from bot.domain.guilds import Budget, LimitOverrides, OperatorDefaults
from bot.domain.jobs import Resolution
from bot.domain.member_data import Terms
from bot.domain.schedule import PollSchedule
from bot.media.decode_client import prepare_in_subprocess
from bot.media.first_frame import PreparedFrame
from bot.operations.clock import Clock, SteadyClock, utc_now
from bot.operations.diagnostics import diagnostics_on_signal
from bot.operations.workdir import workdir
from bot.providers.vtrix.client import BodyForm, Timeouts, Vtrix
from bot.services.admin.service import AdminService
from bot.services.operator.service import OperatorService
from bot.services.privacy import PrivacyService
from bot.services.videos import Service
from bot.settings import Settings, sqlite_file
from bot.store.engine import Database
from bot.store.guilds.membership import MembershipStore
from bot.store.jobs.approvals import ApprovalStore
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance.migrate import migrate
from bot.store.maintenance.process_lock import process_lock
from bot.store.outbox.notifications import NotificationStore
from bot.store.privacy.member_data import MemberDataStore
from bot.store.privacy.retention import RetentionStore
from bot.worker.loop import Worker, WorkerConfig
from bot.worker.notifier import Notifier
from bot.worker.retention import RetentionWorker
from bot.worker.stages import StageConfig, StageContext

log = logging.getLogger(__name__)


SUBMIT_S = 60.0
"""How long a create may take. Shorter than the default grace of a stop: cut off, its outcome would be unknown."""


_LAST_WORDS_S = 3.0
"""How long a stopped loop may take to notice; a start that still waits for Discord never does."""


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


def operator_defaults(settings: Settings) -> OperatorDefaults:
    """What the operator has set for all servers."""
    return OperatorDefaults(
        limits=LimitOverrides(settings.quota_videos_per_day, settings.quota_running, settings.quota_pause_seconds),
        window_hours=settings.quota_window_hours,
        prices={Resolution.P480: settings.price_usd_480p, Resolution.P720: settings.price_usd_720p},
        budget=Budget(settings.budget_usd_per_day, settings.budget_usd_per_month),
        guild_budget=Budget(settings.server_budget_usd_per_day, settings.server_budget_usd_per_month),
        max_queued=settings.queue_max,
        open_to_all=settings.open_to_all_servers,
    )


def operator_service(
    settings: Settings, database: Database, rules: OperatorDefaults, *, wake: Callable[[], None], clock: Clock
) -> OperatorService | None:
    """The operator's side; None where no server is the operator's."""
    if settings.operator_guild_id is None:
        return None
    place, people = settings.operator_guild_id, settings.operator_user_ids
    return OperatorService(database, rules, guild_id=place, user_ids=people, wake=wake, clock=clock)


@asynccontextmanager
async def open_app(
    settings: Settings,
    client: Client,
    *,
    prepare_first_frame: Callable[[bytes], Awaitable[PreparedFrame]] = prepare_in_subprocess,
) -> AsyncIterator[App]:
    """Opens everything but the connection to Discord; closes it in the opposite order.

    conform: makes a file into a first frame. Raises: StoreError.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(redirect(endpoints(settings)))
        stack.enter_context(process_lock(settings.database_url))
        database = await stack.enter_async_context(Database.open(settings.database_url))
        await migrate(database, clock=utc_now)
        clock = SteadyClock(start=await database.server_time())
        folder = stack.enter_context(workdir())
        rules = operator_defaults(settings)
        store = JobStore(database, rules)
        if sqlite_file(settings.database_url) is not None and (held := await store.free_leases()):
            # Nobody else can hold them: they are those of a process that died.
            log.info("%d jobs were in the hands of a process that is gone; they go on at once", held)
        context = StageContext(
            provider=await stack.enter_async_context(provider(settings)),
            messenger=Delivery(client),
            store=store,
            approval_messenger=ApprovalCards(client),
            approvals=ApprovalStore(database),
            config=StageConfig(
                job_timeout=timedelta(seconds=settings.job_timeout_seconds),
                task_lifetime=timedelta(seconds=settings.upstream_task_lifetime_seconds),
                poll_schedule=PollSchedule(settings.poll_min_seconds, settings.poll_max_seconds),
            ),
            clock=clock,
            started_at=clock(),
            workdir=folder,
        )
        config = WorkerConfig(
            max_running=settings.upstream_max_running,
            submit_interval=timedelta(seconds=1 / settings.upstream_submits_per_second),
        )
        notifier = Notifier(
            NotificationStore(database, render),
            DiscordNotificationSender(client),
            operator_channel_id=settings.operator_log_channel_id,
            clock=clock,
            jitter=random.random,
        )
        terms = Terms(settings.retention_days, settings.erase_after_leaving_days)
        member_data = MemberDataStore(database, rules)
        retention = RetentionWorker(RetentionStore(database, rules), member_data, terms, clock=clock)
        worker = Worker(store, context, config, [notifier, retention])
        service = Service(store, wake=worker.wake, clock=clock, prepare_first_frame=prepare_first_frame)
        if isinstance(client, ZoetropeBot):
            client.services = Services(
                jobs=service,
                admins=AdminService(
                    database,
                    rules,
                    wake=worker.wake,
                    clock=clock,
                    task_lifetime=timedelta(seconds=settings.upstream_task_lifetime_seconds),
                ),
                operator=operator_service(settings, database, rules, wake=worker.wake, clock=clock),
                privacy=PrivacyService(member_data, terms, wake=worker.wake, clock=clock),
                command_permissions=CommandPermissions(asking(client)),
            )
            GuildEvents(
                client, MembershipStore(database), open_to_all=rules.open_to_all, wake=worker.wake, clock=clock
            ).attach()
        stack.push_async_callback(client.close)
        yield App(settings, client, database, store, worker, service)


async def run(settings: Settings, *, commands: bool) -> None:
    """Runs until SIGINT or SIGTERM, then stops cleanly; a second signal ends it at once.

    commands: connect to the gateway and answer commands; without, only the worker runs.
    Raises: LoginRefused, StoreError.
    """
    client = ZoetropeBot() if commands else rest_client()
    async with open_app(settings, client) as app, diagnostics_on_signal():
        stop = asyncio.create_task(signalled())
        parts = asyncio.create_task(_run_parts(app, commands=commands))
        refused = asyncio.create_task(until_refused(client, client.throttle))
        await asyncio.wait({parts, stop, refused}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        refused.cancel()
        log.info("stopping: no new work is taken; steps under way get %.0f s", settings.shutdown_grace_seconds)
        await app.worker.stop(settings.shutdown_grace_seconds)
        await app.client.close()
        # The loop and the gateway end by themselves now; to cut them off would break a transaction off.
        await asyncio.wait({parts}, timeout=_LAST_WORDS_S)
        parts.cancel()
        with suppress(asyncio.CancelledError):
            await parts
        with suppress(asyncio.CancelledError):
            await refused
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
