"""All that admins look after, put together: one part for each thing, over one database."""

from collections.abc import Callable
from datetime import timedelta

from bot.admins.bans import Bans
from bot.admins.credits import Credits
from bot.admins.limits import MemberLimits
from bot.admins.reviews import Reviews
from bot.admins.roster import Roster
from bot.admins.rulebook import Rules
from bot.admins.settings import ServerSettings
from bot.admins.usage import UsageReports
from bot.guilds import HouseRules
from bot.steps import Clock
from bot.store.engine import Database


class AdminDesk:
    """The admins' side of the machine.

    wake: tells the worker that something may be due. task_lifetime: how long the upstream can be asked about a
    task.
    """

    def __init__(
        self,
        database: Database,
        rules: HouseRules,
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
        self.roster = Roster(database, wake=wake, clock=clock, task_lifetime=task_lifetime)
        self.usage = UsageReports(database, rules, wake=wake, clock=clock)
