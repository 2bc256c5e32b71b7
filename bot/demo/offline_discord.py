"""A Discord that lives in this process, so that the demo can run the real bot without a token.

SimCord takes the place of Discord's REST API and gateway under an unmodified discord.py client: login, setup hook,
command sync, cogs and messages are the bot's own code. This module creates one server, acts as its members, and
signals when a message changed. It starts no worker: SimCord waits for every task that the bot starts before it
considers a command done.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Self, cast

import discord
from discord.ext import commands
from simcord import ChannelHandle, Env, GuildHandle, InteractionResult, MemberActor

from bot.chat.permissions.channel_permissions import PERMISSIONS
from bot.chat.posting import shown_text
from bot.demo.preview import ChannelView, DemoPreview
from bot.domain.errors import UserError

_SETTLE_S = 30.0
"""How long a command may take. SimCord's 5 s suit tests; here a busy machine may decode a large picture."""

_CLOSE_S = 5.0
"""How long handlers in progress have to finish when the offline Discord closes."""


class _WallClock:
    """Makes the offline Discord run on the machine's time.

    SimCord's own clock stands still in the past unless a test moves it, so message times, `<t:…:R>` and the three
    seconds to answer an interaction would all be wrong. `perf_counter`, because SimCord redirects
    `time.monotonic` to this very clock while the bot's code runs.
    """

    def __init__(self) -> None:
        self._started_at = datetime.now(UTC)
        self._started_s = time.perf_counter()

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._started_s

    def now(self) -> datetime:
        return self._started_at + timedelta(seconds=self.elapsed)

    def advance(self, seconds: float) -> None:
        """Real time can't be advanced."""


class OfflineDiscord:
    """A Discord server with `bot` logged in, while it is entered.

    bot: created but not started; closed at the end. manages: whether the viewer has *Manage Server*, and with it
    the admin commands. guild, channel, viewer: the server, its channel for videos, the member who asks for them.
    views: the channels that the page offers, each with the member who looks at it.
    """

    def __init__(self, bot: commands.Bot | commands.AutoShardedBot, *, manages: bool = False) -> None:
        self.bot = bot
        self._manages = manages
        self.views: list[ChannelView] = []
        # No privileged intent is granted, as for a bot that requested none in the developer portal.
        shards = 1 if isinstance(bot, discord.AutoShardedClient) else None
        self._env = Env(
            bot, approved_intents=discord.Intents.default(), settle_timeout=_SETTLE_S, shard_count=shards
        )
        # SimCord has no public setting for its clock, nor for the bot's name.
        self._env.backend.clock = cast("Any", _WallClock())
        self._env.backend.bot_user.name = "Zoetrope"
        self._env.backend.subscribers.append(self._on_event)
        self._record_error = self._env._record_error  # noqa: SLF001 - no public hook
        self._env._record_error = self._record_unexpected  # type: ignore[method-assign]  # noqa: SLF001
        self._changed = asyncio.Event()
        self.guild: GuildHandle
        self.channel: ChannelHandle
        self.viewer: MemberActor

    async def __aenter__(self) -> Self:
        await self._env.start()
        try:
            self._create_server()
            await self._env.settle()
        except BaseException:
            await self._env.shutdown()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        try:
            # SimCord cancels the handlers in progress. One that was opening a database connection at that moment
            # never returned it (seen with 3.2.1), so they get a chance to finish.
            with suppress(TimeoutError):
                await self._env.settle(timeout=_CLOSE_S, idle=0.005)
            await self.bot.close()
        finally:
            await self._env.shutdown()

    def _create_server(self) -> None:
        """Creates the server as the bot finds it once invited."""
        self.guild = self._env.create_guild("Zoetrope demo")
        self.channel = self.add_channel(
            "videos", topic="Type /animate, choose a picture and say what should happen in it."
        )
        permissions = discord.Permissions(manage_guild=True) if self._manages else None
        self.viewer = self.add_member("You", permissions=permissions)
        self.views = [ChannelView("You", self.viewer, self.channel)]

    def add_member(self, name: str, *, permissions: discord.Permissions | None = None) -> MemberActor:
        """A new member called `name`, with a role of these permissions if there are any."""
        user = self._env.create_user(name.lower(), global_name=name)
        roles = [self.guild.create_role(f"{name}'s role", permissions=permissions)] if permissions else []
        return self.guild.add_member(user, roles=roles)

    def add_channel(self, name: str, *, topic: str, only: MemberActor | None = None) -> ChannelHandle:
        """A new text channel. only: the one member who sees it, besides the bot; everybody without."""
        bot_user = self.bot.user
        if bot_user is None:
            raise RuntimeError("the bot did not log in")
        # SimCord gives the bot's role nearly everything; this takes back what the invite doesn't ask for.
        overwrites: dict[Any, discord.PermissionOverwrite] = {
            bot_user: discord.PermissionOverwrite.from_pair(PERMISSIONS, ~PERMISSIONS)
        }
        if only is not None:
            overwrites[self.guild.default_role] = discord.PermissionOverwrite(view_channel=False)
            overwrites[only] = discord.PermissionOverwrite(view_channel=True)
        return self.guild.create_text_channel(name, topic=topic, overwrites=overwrites)

    async def post(
        self, channel: ChannelHandle, author: str, text: str, *files: tuple[str, bytes]
    ) -> discord.Message:
        """Posts a message that neither the bot nor a member wrote. files: each a file name and its bytes."""
        return await self.guild.create_webhook(channel, author).send(text, attachments=files)

    @property
    def errors(self) -> list[BaseException]:
        """What the bot's handlers raised and discord.py only logged, oldest first."""
        return self._env.errors

    async def animate(self, image: bytes, filename: str, prompt: str, **options: Any) -> str:
        """The member runs `/animate`; returns the text of the bot's private answer, empty if there is none."""
        return await self.command("animate", image=(filename, image), prompt=prompt, **options)

    async def command(self, name: str, /, **options: Any) -> str:
        """The member runs the slash command `name` (such as `"videos list"`) and gets the answer.

        An attachment is a pair of file name and bytes. Raises simcord.SetupError for a command or option that
        Discord's client would not offer.
        """
        return _answer(await self.viewer.slash(self.channel, name, **options))

    def messages(self) -> list[discord.Message]:
        """What the member sees in the channel, oldest first, private answers included."""
        return self.channel.history(viewer=self.viewer)

    async def wait_for_message(
        self, matches: Callable[[discord.Message], bool], *, timeout_s: float
    ) -> discord.Message:
        """The first message that `matches`, now or after the next posts and edits. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while True:
                changed = self.changed
                if found := next(filter(matches, self.messages()), None):
                    return found
                await changed.wait()

    @property
    def changed(self) -> asyncio.Event:
        """Is set when the next message is posted, edited or deleted; each change has its own event.

        Take it before reading the messages, so that no change is missed in between.
        """
        return self._changed

    def preview(self, *, port: int) -> DemoPreview:
        """The `views` as a page for the browser, not served yet. `port`: on the loopback; 0 takes a free one."""
        return DemoPreview(self._env, self.views, port=port)

    def _record_unexpected(self, error: BaseException) -> None:
        """Keeps an error, unless it is a refusal that the bot answered, which SimCord's page would report."""
        cause = error.original if isinstance(error, discord.app_commands.CommandInvokeError) else error
        if not isinstance(cause, UserError):
            self._record_error(error)

    def _on_event(self, event: str, _payload: Mapping[str, Any]) -> None:
        if event.startswith("MESSAGE_"):
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()


def _answer(result: InteractionResult) -> str:
    parts = [result.response, *result.followups]
    texts = (part.content or shown_text(part.message.components) for part in parts if part is not None)
    return "\n".join(filter(None, texts))
