"""All services of the admins, over one database."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from bot.domain.guilds import OperatorDefaults
from bot.operations.clock import Clock
from bot.services.admin.bans import BanService
from bot.services.admin.credits import CreditService
from bot.services.admin.jobs import JobService
from bot.services.admin.limits import LimitService
from bot.services.admin.policy import PolicyService
from bot.services.admin.settings import SettingsService
from bot.services.admin.usage import UsageService
from bot.store.engine import Database

_S = TypeVar("_S")


class AdminService:
    """The services behind `/video-admin`. Parameters: see `AuditedService`."""

    def __init__(
        self,
        database: Database,
        defaults: OperatorDefaults,
        *,
        wake: Callable[[], None],
        clock: Clock,
        task_lifetime: timedelta,
    ) -> None:
        def create(service: Callable[..., _S]) -> _S:
            return service(database, defaults, wake=wake, clock=clock, task_lifetime=task_lifetime)

        self.settings = create(SettingsService)
        self.limits = create(LimitService)
        self.credits = create(CreditService)
        self.policy = create(PolicyService)
        self.bans = create(BanService)
        self.jobs = create(JobService)
        self.usage = create(UsageService)
