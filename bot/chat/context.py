"""What commands and buttons work with, found from the interaction: they need not know the client."""

from dataclasses import dataclass, field

import discord
from discord.ext import commands

from bot.chat.permissions.command_permissions import Integrations
from bot.chat.permissions.user_rate_limiter import UserRateLimiter
from bot.services.admin.service import AdminService
from bot.services.operator.service import OperatorService
from bot.services.privacy import PrivacyService
from bot.services.videos import VideoService


@dataclass(frozen=True, slots=True)
class Services:
    """What members, admins and the operator may ask for; `operator` is None where no server is the operator's.

    integrations: who may use a guarded command, as Discord tells it. limiter: how often a member may act.
    """

    jobs: VideoService
    admins: AdminService
    operator: OperatorService | None
    privacy: PrivacyService
    integrations: Integrations
    limiter: UserRateLimiter = field(default_factory=UserRateLimiter)


class ServiceBot(commands.Bot):
    """A bot that holds the services. They are handed in before it starts."""

    services: Services


Interaction = discord.Interaction[ServiceBot]


def services_of(interaction: Interaction) -> Services:
    """The services of the bot that received the interaction."""
    return interaction.client.services
