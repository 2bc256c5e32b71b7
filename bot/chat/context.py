"""The services that commands and buttons use, reached through the interaction."""

from dataclasses import dataclass, field

import discord
from discord.ext import commands

from bot.chat.form_times import FormTimes
from bot.chat.interaction_answers import InteractionAnswers
from bot.chat.interaction_tracker import InteractionTracker
from bot.chat.offered_pictures import OfferedPictures
from bot.chat.order_replies import OrderReplies
from bot.chat.permissions.command_permissions import CommandPermissions
from bot.chat.permissions.user_rate_limiter import UserRateLimiter
from bot.chat.upload_limits import UploadLimits
from bot.domain.models import Catalog
from bot.providers.discord_files import DiscordFiles
from bot.services.admin.service import AdminService
from bot.services.extensions import ExtensionService
from bot.services.member_settings import MemberSettingsService
from bot.services.operator.service import OperatorService
from bot.services.privacy import PrivacyService
from bot.services.videos import VideoService


@dataclass(frozen=True, slots=True)
class Services:
    """The services for members, admins and the operator. operator: None without an operator's server.

    settings: members' own. command_permissions: who can use a guarded command. limiter: how often a user can act.
    discord_files: reads files by their links. catalog: the models that are offered. direct_orders: whether videos
    can be ordered in direct messages.
    replies: the private answers to recent orders. answers: those where the bot isn't a member.
    upload_limits: the largest file of each channel. interactions: those in progress.
    pictures: those that members are choosing from. form_times: how long a form may take.
    """

    jobs: VideoService
    admins: AdminService
    operator: OperatorService | None
    privacy: PrivacyService
    settings: MemberSettingsService
    extensions: ExtensionService
    command_permissions: CommandPermissions
    discord_files: DiscordFiles
    answers: InteractionAnswers
    catalog: Catalog = Catalog()
    direct_orders: bool = False
    limiter: UserRateLimiter = field(default_factory=UserRateLimiter)
    replies: OrderReplies = field(default_factory=OrderReplies)
    upload_limits: UploadLimits = field(default_factory=UploadLimits)
    interactions: InteractionTracker = field(default_factory=InteractionTracker)
    pictures: OfferedPictures = field(default_factory=OfferedPictures)
    form_times: FormTimes = field(default_factory=FormTimes)


class ServiceBot(commands.AutoShardedBot):
    """A bot that holds the services, which are set before it starts."""

    services: Services

    @property
    def catalog(self) -> Catalog:
        """The models that are offered, from which the commands and forms are built."""
        return self.services.catalog


Interaction = discord.Interaction[ServiceBot]


def services_of(interaction: Interaction) -> Services:
    """The services of the bot that received the interaction."""
    return interaction.client.services
