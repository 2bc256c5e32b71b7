"""All that admins look after, put together: one part for each thing, over one database."""

from collections.abc import Callable
from datetime import timedelta

from bot.domain.guilds import OperatorDefaults
from bot.operations.clock import Clock
from bot.services.admin.approvals import ApprovalService
from bot.services.admin.bans import BanService
from bot.services.admin.credits import CreditService
from bot.services.admin.jobs import JobService
from bot.services.admin.limits import LimitService
from bot.services.admin.policy import PolicyService
from bot.services.admin.settings import SettingsService
from bot.services.admin.usage import UsageService
from bot.store.engine import Database


class AdminService:
    """The admins' side of the machine.

    wake: tells the worker that something may be due. task_lifetime: how long the upstream can be asked about a
    task.
    """

    def __init__(
        self,
        database: Database,
        rules: OperatorDefaults,
        *,
        wake: Callable[[], None],
        clock: Clock,
        task_lifetime: timedelta = timedelta(hours=24),
    ) -> None:
        self.settings = SettingsService(database, rules, wake=wake, clock=clock)
        self.limits = LimitService(database, rules, wake=wake, clock=clock)
        self.credits = CreditService(database, wake=wake, clock=clock)
        self.policy = PolicyService(database, wake=wake, clock=clock)
        self.bans = BanService(database, wake=wake, clock=clock)
        self.approvals = ApprovalService(database, rules, wake=wake, clock=clock)
        self.jobs = JobService(database, wake=wake, clock=clock, task_lifetime=task_lifetime)
        self.usage = UsageService(database, rules, wake=wake, clock=clock)
