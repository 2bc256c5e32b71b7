"""The composition root: opens every part, wires them together, and closes them in reverse order.

Settings become plain values here; no module below this one reads them.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from bot.chat.context import Services
from bot.chat.guild_events import GuildEvents
from bot.chat.interaction_answers import InteractionAnswers
from bot.chat.messages.notification_texts import render
from bot.chat.order_replies import OrderReplies
from bot.chat.permissions.command_permissions import CommandPermissions, asking
from bot.chat.transport.client import Client, ZoetropeBot
from bot.chat.transport.delivery import Delivery, DiscordNotificationSender
from bot.chat.transport.endpoints import redirect
from bot.chat.transport.posted_videos import DiscordVideos
from bot.chat.transport.status_messages import StatusMessages
from bot.chat.upload_limits import UploadLimits
from bot.chat.views.approval_cards import ApprovalCards
from bot.chat.views.member_buttons import cancel_row
from bot.domain.guilds import Budget, DirectOrders, LimitOverrides, OperatorDefaults
from bot.domain.member_data import RetentionPolicy
from bot.domain.models import PictureLimits
from bot.domain.provider_limits import slots
from bot.domain.schedule import PollSchedule
from bot.media.decode_client import DecodeClient
from bot.media.prepared_frame import MAX_INPUT_BYTES, PreparedFrame
from bot.operations.clock import Clock, ReferenceClock, SteadyClock, utc_now
from bot.operations.observer import Observer
from bot.operations.workdir import workdir
from bot.providers.delivered_videos import DeliveredVideos
from bot.providers.discord_files import DiscordFiles
from bot.services.admin.service import AdminService
from bot.services.extensions import ExtensionService
from bot.services.member_settings import MemberSettingsService
from bot.services.operator.service import OperatorService
from bot.services.privacy import PrivacyService
from bot.services.videos import VideoService
from bot.settings import Settings
from bot.setup.discord_limits import share_discord_limits
from bot.setup.monitoring import observer_for, operator_page, serving_monitoring
from bot.setup.providers import catalog, open_providers, provider_limits
from bot.store.engine import Database
from bot.store.guilds.membership import MembershipStore
from bot.store.jobs.approvals import ApprovalStore
from bot.store.jobs.extensions import ExtensionStore
from bot.store.jobs.interaction_tokens import InteractionTokenStore
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.status_cards import StatusCardStore
from bot.store.jobs.task_durations import TaskDurationStore
from bot.store.jobs.waiting_jobs import WaitingJobs
from bot.store.maintenance.migrate import migrate
from bot.store.maintenance.process_lock import ProcessLock, process_lock
from bot.store.maintenance.scheduled_backups import ScheduledBackups
from bot.store.member_settings import MemberSettingsStore
from bot.store.monitoring import MonitoringStore
from bot.store.outbox.notifications import NotificationStore
from bot.store.privacy.member_data import MemberDataStore
from bot.store.privacy.retention import RetentionStore
from bot.store.stopped_sessions import end_stopped_sessions
from bot.worker.background_service import BackgroundService
from bot.worker.backups import BackupWorker
from bot.worker.config import WorkerConfig
from bot.worker.duration_learner import DurationLearner
from bot.worker.loop import Worker
from bot.worker.notifier import Notifier
from bot.worker.retention import RetentionWorker
from bot.worker.server_clock import ServerClockSync
from bot.worker.stages.context import StageConfig, StageContext
from bot.worker.status_cards import StatusCards
from bot.worker.stopped_sessions import StoppedSessionsWatch

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class App:
    """The open parts. `client` is not logged in yet. `guild_events`: of a client that connects to the gateway.

    beside_gateway: the worker runs them; without one, they run beside the connection to the gateway.
    monitoring: reads what metrics and health say of the database. metrics_port: where they are served, or None.
    """

    settings: Settings
    client: Client
    database: Database
    store: JobStore
    worker: Worker
    service: VideoService
    lock: ProcessLock | None
    clock: Clock
    guild_events: GuildEvents | None
    beside_gateway: list[BackgroundService]
    monitoring: MonitoringStore
    metrics_port: int | None


def operator_defaults(settings: Settings) -> OperatorDefaults:
    """The limits, prices and budgets that apply unless a command changes them."""
    return OperatorDefaults(
        limits=LimitOverrides(settings.quota_videos_per_day, settings.quota_running, settings.quota_pause_seconds),
        window_hours=settings.quota_window_hours,
        catalog=catalog(settings),
        budget=Budget(settings.budget_usd_per_day, settings.budget_usd_per_month),
        guild_budget=Budget(settings.server_budget_usd_per_day, settings.server_budget_usd_per_month),
        direct=DirectOrders(
            settings.direct_orders,
            settings.direct_videos_per_day,
            Budget(settings.direct_budget_usd_per_day, settings.direct_budget_usd_per_month),
        ),
        max_queued=settings.queue_max,
        open_to_all=settings.open_to_all_servers,
        unknown_cost_held_for=timedelta(days=1, seconds=settings.upstream_task_lifetime_seconds),
        keeps_pictures=settings.pictures_kept_days > 0,
        provider_budgets={limits.provider: limits.budget for limits in provider_limits(settings)},
    )


def retention_policy(settings: Settings) -> RetentionPolicy:
    """How long what is kept."""
    return RetentionPolicy(settings.retention_days, settings.erase_after_leaving_days, settings.pictures_kept_days)


async def _clock_of(database: Database) -> tuple[Clock, ReferenceClock | None]:
    """The clock to go by and, where processes share a database server, that server's, which it follows."""
    server_time = await database.server_time()
    reference = None if server_time is None else ReferenceClock(server_time)
    return SteadyClock(wall=reference or utc_now), reference


async def _take_over(database: Database, store: JobStore, waiting_jobs: WaitingJobs, clock: Clock) -> None:
    """Takes over what earlier processes left, perhaps with other settings."""
    if database.file is not None and (freed := await store.free_leases()):
        # This process has locked the file, so whoever held the leases is dead.
        log.info("%d jobs were left by a process that died; they continue now", freed)
    if cancelled := await waiting_jobs.offer_again(clock()):
        log.warning("%d queued jobs were cancelled: no provider may make them any more", cancelled)


def _scheduled_backups(settings: Settings, database: Database, clock: Clock) -> list[BackgroundService]:
    """The service that backs up a SQLite file, if the operator wants it."""
    if database.file is None or settings.backup_dir is None:
        return []
    every, keep = settings.backup_every, settings.backup_keep
    backups = ScheduledBackups(database.file, settings.backup_dir, every=every, keep=keep)
    return [BackupWorker(backups, database, clock=clock)]


def _for_server(database: Database, reference: ReferenceClock) -> list[BackgroundService]:
    """What a process does on a database server, which others use as well."""
    return [
        ServerClockSync(reference, database.server_time),
        StoppedSessionsWatch(partial(end_stopped_sessions, database)),
    ]


@asynccontextmanager
async def open_app(
    settings: Settings,
    client: Client,
    observer: Observer | None = None,
    *,
    prepare_first_frame: Callable[[bytes, PictureLimits], Awaitable[PreparedFrame]] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[App]:
    """Opens everything except the connection to Discord, and closes it in reverse order.

    observer: from `observer_for`, if the client has it as well; None for one that the client reports nothing to.
    prepare_first_frame: turns a member's file into a first frame; None for sandboxed processes. sleep: pauses
    between two welcomes by direct message. Raises: StoreError, PortUnavailable.
    """
    observer = observer or observer_for(settings)
    async with AsyncExitStack() as stack:
        stack.enter_context(redirect(settings.discord_api_url, settings.discord_gateway_url))
        lock = stack.enter_context(process_lock(settings.database_url))
        database = await stack.enter_async_context(Database.open(settings.database_url))
        await migrate(database, clock=utc_now)
        share_discord_limits(client, settings, database)
        clock, reference = await _clock_of(database)
        defaults, limits = operator_defaults(settings), provider_limits(settings)
        task_lifetime = timedelta(seconds=settings.upstream_task_lifetime_seconds)
        store = JobStore(database, defaults)
        waiting_jobs = WaitingJobs(database, defaults)
        await _take_over(database, store, waiting_jobs, clock)
        replies, upload_limits = OrderReplies(), UploadLimits()
        answers = InteractionAnswers(
            client, InteractionTokenStore(database), replies, clock, cancel_row=cancel_row
        )
        member_settings = MemberSettingsStore(database)
        settings_of = member_settings.of
        poll_schedule = PollSchedule(settings.poll_min_seconds, settings.poll_max_seconds)
        status_cards = StatusCards(
            StatusCardStore(database, defaults, clock=clock),
            StatusMessages(client, answers),
            poll_schedule.remaining,
            slots=slots(limits),
            clock=clock,
        )
        providers = await stack.enter_async_context(open_providers(settings, observer))
        extensions = ExtensionStore(database)
        delivered = DeliveredVideos(DiscordVideos(client), providers, clock, task_lifetime)
        context = StageContext(
            providers=providers,
            provider_limits=limits,
            messenger=Delivery(client, replies, upload_limits, settings_of, answers),
            status_cards=status_cards,
            store=store,
            approval_messenger=ApprovalCards(client),
            approvals=ApprovalStore(database),
            config=StageConfig(
                job_timeout=timedelta(seconds=settings.job_timeout_seconds),
                task_lifetime=task_lifetime,
                poll_schedule=poll_schedule,
                longest_closure=timedelta(seconds=settings.upstream_max_pause_seconds),
            ),
            clock=clock,
            started_at=clock(),
            workdir=stack.enter_context(workdir()),
            settings_of=settings_of,
            extensions=extensions,
            delivered=delivered,
        )
        notifier = Notifier(
            NotificationStore(database, render),
            DiscordNotificationSender(client),
            operator_channel_id=settings.operator_log_channel_id,
            clock=clock,
            jitter=random.random,
        )
        member_data, policy = MemberDataStore(database, defaults), retention_policy(settings)
        retention = RetentionWorker(RetentionStore(database, defaults), member_data, policy, clock=clock)
        # What every process goes by: how long tasks take, and what a database server asks of it, if there is one.
        beside_gateway: list[BackgroundService] = [
            DurationLearner(TaskDurationStore(database), poll_schedule),
            *([] if reference is None else _for_server(database, reference)),
        ]
        background_services: list[BackgroundService] = [
            *(notifier, retention, status_cards),
            *_scheduled_backups(settings, database, clock),
            *beside_gateway,
        ]
        worker = Worker(store, context, WorkerConfig(limits), background_services, observer)
        wake = worker.wake
        decoder = await stack.enter_async_context(DecodeClient())
        service = VideoService(
            store,
            wake=wake,
            clock=clock,
            prepare_first_frame=prepare_first_frame or decoder.prepare,
            expect_picture=decoder.expect_picture if prepare_first_frame is None else lambda: None,
            task_lifetime=task_lifetime,
            settings_of=settings_of,
            catalog=defaults.catalog,
        )
        guild_events: GuildEvents | None = None
        if isinstance(client, ZoetropeBot):
            operator = None
            if settings.operator_guild_id is not None:
                operator = OperatorService(
                    database,
                    defaults,
                    guild_id=settings.operator_guild_id,
                    user_ids=settings.operator_user_ids,
                    wake=wake,
                    clock=clock,
                )
            client.services = Services(
                jobs=service,
                admins=AdminService(database, defaults, wake=wake, clock=clock, task_lifetime=task_lifetime),
                operator=operator,
                settings=MemberSettingsService(member_settings, clock),
                privacy=PrivacyService(member_data, policy, wake=wake, clock=clock),
                extensions=ExtensionService(
                    service,
                    extensions,
                    delivered,
                    workdir=context.workdir,
                    max_seconds=settings.extend_max_seconds,
                ),
                command_permissions=CommandPermissions(asking(client)),
                discord_files=await stack.enter_async_context(DiscordFiles(MAX_INPUT_BYTES)),
                answers=answers,
                catalog=defaults.catalog,
                direct_orders=settings.direct_orders,
                replies=replies,
                upload_limits=upload_limits,
            )
            guild_events = GuildEvents(
                client,
                MembershipStore(database),
                waiting_jobs,
                open_to_all=defaults.open_to_all,
                wake=wake,
                clock=clock,
                sleep=sleep,
            )
            guild_events.attach()
        stack.push_async_callback(client.close)
        if guild_events is not None:  # before the client closes, or a request of theirs would fail
            stack.push_async_callback(guild_events.stop)
        monitoring = MonitoringStore(database, defaults, limits, clock)
        page = operator_page(settings, database, defaults, clock, poll_schedule.remaining)
        monitored = serving_monitoring(settings, client, observer, monitoring, context.workdir, clock, page)
        port = await stack.enter_async_context(monitored)
        yield App(
            settings,
            client,
            database,
            store,
            worker,
            service,
            lock,
            clock,
            guild_events,
            beside_gateway,
            monitoring,
            port,
        )
