"""All that admins look after, put together: one part for each thing, over one database."""

from collections.abc import Callable
from datetime import timedelta

from bot.domain.guilds import OperatorDefaults
from bot.operations.clock import Clock
from bot.services.admin.approvals import Reviews
from bot.services.admin.bans import Bans
from bot.services.admin.credits import Credits
from bot.services.admin.jobs import JobAdministration
from bot.services.admin.limits import MemberLimits
from bot.services.admin.policy import Rules
from bot.services.admin.settings import ServerSettings
from bot.services.admin.usage import UsageReports
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
        self.settings = ServerSettings(database, rules, wake=wake, clock=clock)
        self.limits = MemberLimits(database, rules, wake=wake, clock=clock)
        self.credits = Credits(database, wake=wake, clock=clock)
        self.rulebook = Rules(database, wake=wake, clock=clock)
        self.bans = Bans(database, wake=wake, clock=clock)
        self.reviews = Reviews(database, rules, wake=wake, clock=clock)
        self.roster = JobAdministration(database, wake=wake, clock=clock, task_lifetime=task_lifetime)
        self.usage = UsageReports(database, rules, wake=wake, clock=clock)
