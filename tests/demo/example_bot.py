"""A small bot with the structure of the real one, for the tests of the demo."""

import asyncio
import io
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands


class KeepButton(discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=r"keep:(?P<job>\w+)"):
    def __init__(self, job: str) -> None:
        super().__init__(discord.ui.Button(label="Keep", custom_id=f"keep:{job}"))
        self.job = job

    @classmethod
    async def from_custom_id(cls, _interaction: Any, _item: Any, match: Any) -> "KeepButton":
        return cls(match["job"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        await interaction.response.send_message(f"kept {self.job}", ephemeral=True)


class ExampleCommands(commands.Cog):
    """Commands that report their input."""

    @app_commands.command(description="Say what came")
    async def animate(
        self, interaction: discord.Interaction[Any], image: discord.Attachment, prompt: str, seed: int = 0
    ) -> None:
        await interaction.response.defer(ephemeral=True)
        size = len(await image.read())
        await interaction.edit_original_response(content=f"{image.filename} {size} {prompt} {seed}")

    @app_commands.command(description="Say what the bot may do here")
    async def permissions(self, interaction: discord.Interaction[Any]) -> None:
        await interaction.response.send_message(str(interaction.app_permissions.value), ephemeral=True)

    @app_commands.command(description="Go wrong")
    async def stumble(self, interaction: discord.Interaction[Any]) -> None:
        await interaction.response.defer(ephemeral=True)
        raise ValueError("stumbled")

    @app_commands.command(description="Say when the command was given")
    async def when(self, interaction: discord.Interaction[Any]) -> None:
        await interaction.response.send_message(str(interaction.created_at.timestamp()))

    @app_commands.command(description="Take long")
    async def linger(self, interaction: discord.Interaction[Any]) -> None:
        await interaction.response.defer(ephemeral=True)
        bot = interaction.client
        assert isinstance(bot, ExampleBot)
        bot.command_running.set()
        await bot.finish_command.wait()


class ExampleBot(commands.Bot):
    """`post` makes REST calls with a channel id only, as the real worker does."""

    def __init__(self) -> None:
        super().__init__(command_prefix=commands.when_mentioned, intents=discord.Intents(guilds=True))
        self.command_running = asyncio.Event()
        self.finish_command = asyncio.Event()

    async def setup_hook(self) -> None:
        self.add_dynamic_items(KeepButton)
        await self.add_cog(ExampleCommands())
        await self.tree.sync()

    async def post(self, channel_id: int, text: str, *, video: bytes | None = None) -> discord.Message:
        channel = self.get_partial_messageable(channel_id)
        if video is None:
            return await channel.send(text)
        view = discord.ui.View(timeout=None)
        view.add_item(KeepButton("abc"))
        return await channel.send(text, file=discord.File(io.BytesIO(video), "dance.mp4"), view=view, nonce="abc")
