"""A Discord that lives in this process, so that the demo can run the real bot without a token.

SimCord takes the place of Discord's REST and gateway under an unmodified discord.py client: login, setup hook,
command sync, cogs and messages are the bot's own code. This module arranges the one server of the demo, plays
the member who uses it, and says when something changed. It starts no worker: a task that the bot itself starts
counts as the bot's, and SimCord waits for it to end before a command is over.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, cast

import discord
from discord.ext import commands
from simcord import ChannelHandle, Env, GuildHandle, InteractionResult, MemberActor
from simcord.preview import Preview

from bot.chat.permissions.channel_permissions import PERMISSIONS
from bot.domain.errors import UserError

_SETTLE_S = 30.0
"""How long a command may take. SimCord's 5 s are for tests; here a busy machine decodes a large picture."""


@dataclass(frozen=True, slots=True)
class PostedVideo:
    """A video as it stands in the channel. `text`: the message around it."""

    message_id: int
    text: str
    filename: str
    data: bytes


class _WallClock:
    """Lets the offline Discord share the machine's time.

    SimCord's own clock stands still in the past unless a test moves it. Message times, `<t:…:R>` and the three
    seconds to answer an interaction would all be untrue then. `perf_counter`, because SimCord redirects
    `time.monotonic` to this very clock while the bot's code runs.
    """

    def __init__(self) -> None:
        self._began_at = datetime.now(UTC)
        self._began_s = time.perf_counter()

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._began_s

    def now(self) -> datetime:
        return self._began_at + timedelta(seconds=self.elapsed)

    def advance(self, seconds: float) -> None:
        """Nothing can hurry this clock."""


class OfflineDiscord:
    """The demo's Discord, with `bot` logged in and one member in front of one channel, while it is entered.

    bot: made but not started; it is closed at the end. viewer_name: the member's display name. manages: whether
    that member has *Manage Server*, and so the admins' commands.
    """

    def __init__(self, bot: commands.Bot, *, viewer_name: str = "You", manages: bool = False) -> None:
        self.bot = bot
        self._viewer_name = viewer_name
        self._manages = manages
        # No privileged intent is granted, as for a bot that has asked for none in the developer portal.
        self._env = Env(bot, approved_intents=discord.Intents.default(), settle_timeout=_SETTLE_S)
        # SimCord has no public switch for its clock, nor for the name the bot was registered under.
        self._env.backend.clock = cast("Any", _WallClock())
        self._env.backend.bot_user.name = "Zoetrope"
        self._env.backend.subscribers.append(self._notice)
        self._record_error = self._env._record_error  # noqa: SLF001 - no public hook
        self._env._record_error = self._record_fault  # type: ignore[method-assign]  # noqa: SLF001
        self._changed = asyncio.Event()
        self._guild: GuildHandle
        self._channel: ChannelHandle
        self._viewer: MemberActor

    async def __aenter__(self) -> Self:
        await self._env.start()
        try:
            self._furnish()
            await self._env.settle()
        except BaseException:
            await self._env.shutdown()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.bot.close()
        finally:
            await self._env.shutdown()

    def _furnish(self) -> None:
        """Makes the server as the bot finds it after it was invited."""
        bot_user = self.bot.user
        if bot_user is None:
            raise RuntimeError("the bot did not log in")
        self._guild = self._env.create_guild("Zoetrope demo")
        self._channel = self._guild.create_text_channel(
            "videos",
            topic="Type /animate, choose a picture, say what should happen in it.",
            # SimCord gives the bot's role nearly everything; the channel takes back what no invite asked for.
            overwrites={bot_user: discord.PermissionOverwrite.from_pair(PERMISSIONS, ~PERMISSIONS)},
        )
        user = self._env.create_user(self._viewer_name.lower(), global_name=self._viewer_name)
        rights = discord.Permissions(manage_guild=True)
        roles = [self._guild.create_role("Managers", permissions=rights)] if self._manages else []
        self._viewer = self._guild.add_member(user, roles=roles)

    @property
    def guild_id(self) -> int:
        """The demo's server."""
        return self._guild.id

    @property
    def channel_id(self) -> int:
        """The channel where the videos go."""
        return self._channel.id

    @property
    def viewer_id(self) -> int:
        """The member who asks for videos."""
        return self._viewer.id

    @property
    def errors(self) -> list[BaseException]:
        """What the bot's handlers raised and discord.py only logged, oldest first."""
        return self._env.errors

    async def animate(self, image: bytes, filename: str, prompt: str, **options: Any) -> str:
        """The member sends `/animate`; returns the text of the bot's private answer, empty if there is none."""
        return await self.command("animate", image=(filename, image), prompt=prompt, **options)

    async def command(self, name: str, /, **options: Any) -> str:
        """The member sends the slash command `name` (`"videos list"` for a group's) and reads the answer.

        An attachment is a pair of file name and bytes. Raises simcord.SetupError for a command or option that
        Discord's client would not have offered.
        """
        return _answer(await self._viewer.slash(self._channel, name, **options))

    def messages(self) -> list[discord.Message]:
        """What the member sees in the channel, oldest first, private answers included."""
        return self._channel.history(viewer=self._viewer)

    async def wait_for_message(
        self, wanted: Callable[[discord.Message], bool], *, timeout_s: float
    ) -> discord.Message:
        """The first message for which `wanted` holds, now or once one appears or is edited so that it does.

        Raises TimeoutError.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                changed = self.changed
                if found := next(filter(wanted, self.messages()), None):
                    return found
                await changed.wait()

    async def wait_for_video(self, *, timeout_s: float, after: int = 0) -> PostedVideo:
        """The first video in the channel whose message is younger than the message id `after`.

        Raises TimeoutError.
        """
        message = await self.wait_for_message(
            lambda message: message.id > after and _video_of(message) is not None, timeout_s=timeout_s
        )
        video = cast("discord.Attachment", _video_of(message))
        return PostedVideo(message.id, message.content, video.filename, await video.read())

    @property
    def changed(self) -> asyncio.Event:
        """Is set when the next message is posted, edited or deleted; each change has an event of its own.

        Take it before looking at the messages, so that nothing slips in between.
        """
        return self._changed

    def preview(self, *, port: int) -> Preview:
        """The channel as a page for the browser, not yet served. `port`: on the loopback; 0 takes a free one."""
        return self._env.preview(self._channel, viewers=[self._viewer], layout="channel", port=port)

    def _record_fault(self, error: BaseException) -> None:
        """Keeps what went wrong; a refusal that the bot has answered is no fault, but SimCord's page says so."""
        cause = error.original if isinstance(error, discord.app_commands.CommandInvokeError) else error
        if not isinstance(cause, UserError):
            self._record_error(error)

    def _notice(self, event: str, _payload: Mapping[str, Any]) -> None:
        if event.startswith("MESSAGE_"):
            passed, self._changed = self._changed, asyncio.Event()
            passed.set()


def _answer(result: InteractionResult) -> str:
    parts = [result.response, *result.followups]
    return "\n".join(part.content for part in parts if part is not None and part.content)


def _video_of(message: discord.Message) -> discord.Attachment | None:
    return next((file for file in message.attachments if (file.content_type or "").startswith("video/")), None)
