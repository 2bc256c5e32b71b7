import asyncio
import io
import zlib
from collections.abc import AsyncIterator

import aiohttp
import discord
import pytest
from discord import app_commands

from bot.chat.transport.sharded_client import CleanClose
from tests.discord_server import (
    Callback,
    DiscordServer,
    InputRejected,
    Overwrite,
    connected,
    logged_in,
)

SEND_DENIED = Overwrite(deny=discord.Permissions(send_messages=True))
VIEW_DENIED = Overwrite(deny=discord.Permissions(view_channel=True))


class Ask(discord.ui.Modal, title="Why?"):
    reason: discord.ui.TextInput["Ask"] = discord.ui.TextInput(label="Reason", custom_id="reason")

    async def on_submit(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"because {self.reason.value}", ephemeral=True)


class Buttons(discord.ui.View):
    @discord.ui.button(label="Again", custom_id="again")
    async def again(self, interaction: discord.Interaction, _: discord.ui.Button["Buttons"]) -> None:
        await interaction.response.edit_message(content="again!", view=None)

    @discord.ui.button(label="Why", custom_id="why")
    async def why(self, interaction: discord.Interaction, _: discord.ui.Button["Buttons"]) -> None:
        await interaction.response.send_modal(Ask())


class ExampleBot(CleanClose):
    """A bot with one command of each kind that the server supports."""

    def __init__(self) -> None:
        super().__init__(intents=discord.Intents(guilds=True), guild_ready_timeout=0)
        self.tree = app_commands.CommandTree(self)
        group = app_commands.Group(name="videos", description="one's own videos")
        self.tree.add_command(app_commands.Command(name="size", description="bytes", callback=size))
        self.tree.add_command(app_commands.Command(name="menu", description="buttons", callback=menu))
        self.tree.add_command(app_commands.Command(name="public", description="in public", callback=public))
        group.add_command(app_commands.Command(name="of", description="of one member", callback=videos_of))
        self.tree.add_command(group)

    async def setup_hook(self) -> None:
        await self.tree.sync()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """No pause between two sessions."""


async def resolutions(_: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=f"{current}20P", value="720P")]


@app_commands.autocomplete(resolution=resolutions)
async def size(
    interaction: discord.Interaction,
    image: discord.Attachment,
    prompt: app_commands.Range[str, 1, 10],
    resolution: str = "480P",
    seed: app_commands.Range[int, 0, 9] = 0,
) -> None:
    await interaction.response.defer(ephemeral=True)
    data = await image.read()
    await interaction.edit_original_response(content=f"{prompt} {len(data)} {resolution} {seed}")


async def menu(interaction: discord.Interaction) -> None:
    await interaction.response.send_message("choose", view=Buttons())


async def public(interaction: discord.Interaction) -> None:
    await interaction.response.defer()
    await interaction.followup.send("first")
    await interaction.followup.send("second", ephemeral=True)


async def videos_of(interaction: discord.Interaction, member: discord.Member) -> None:
    await interaction.response.send_message(f"{member.name} in {interaction.guild}", ephemeral=True)


@pytest.fixture
async def server() -> AsyncIterator[DiscordServer]:
    async with DiscordServer() as running:
        yield running


@pytest.fixture
async def bot(server: DiscordServer) -> AsyncIterator[ExampleBot]:
    async with connected(ExampleBot(), server) as client:
        yield client


@pytest.fixture
async def channel(server: DiscordServer) -> AsyncIterator[discord.PartialMessageable]:
    """The server's channel, in a client that only uses REST."""
    async with logged_in(discord.Client(intents=discord.Intents.none()), server) as client:
        yield client.get_partial_messageable(server.channel.id)


def contents(server: DiscordServer) -> list[str]:
    return [message.content for message in server.messages()]


# --- the gateway ---


async def test_a_client_without_privileged_intents_gets_its_guilds(server: DiscordServer, bot: ExampleBot) -> None:
    await bot.wait_until_ready()
    guild = bot.get_guild(server.guild.id)
    assert guild is not None
    assert [channel.name for channel in guild.text_channels] == ["general"]
    assert guild.me.guild_permissions.attach_files


async def test_the_gateway_compresses_on_request(server: DiscordServer) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{server.gateway_url}?v=10&encoding=json") as plain:
            hello = await plain.receive_str()
        async with session.ws_connect(f"{server.gateway_url}?compress=zlib-stream") as compressed:
            assert zlib.decompressobj().decompress(await compressed.receive_bytes()).decode() == hello


async def test_a_privileged_intent_is_refused(server: DiscordServer) -> None:
    client = CleanClose(intents=discord.Intents(guilds=True, message_content=True))
    with pytest.raises(discord.PrivilegedIntentsRequired):
        async with connected(client, server):
            pass


async def test_a_wrong_token_fails_the_login(server: DiscordServer) -> None:
    client = CleanClose(intents=discord.Intents.none())
    server.revoke_token()
    with pytest.raises(discord.LoginFailure):
        async with logged_in(client, server):
            pass


async def test_a_dropped_session_resumes_and_gets_what_it_missed(server: DiscordServer, bot: ExampleBot) -> None:
    await bot.wait_until_ready()
    server.gateway.drop()
    asked = await server.slash("public")
    assert (await asked.answer()).content == "first"
    assert [bool(held.resume) for held in server.gateway.connections] == [False, True]


async def test_a_session_is_resumed_when_discord_requests_a_reconnect(
    server: DiscordServer, bot: ExampleBot
) -> None:
    await bot.wait_until_ready()
    server.gateway.ask_to_reconnect()
    await server.state.until(lambda: any(held.resume for held in server.gateway.live))


async def test_an_invalidated_session_is_replaced_by_a_new_one(server: DiscordServer) -> None:
    async with connected(ExampleBot(), server):
        server.gateway.invalidate()
        await server.state.until(
            lambda: sum(held.identify is not None for held in server.gateway.connections) == 2
        )


async def test_a_change_of_the_guild_reaches_the_client(server: DiscordServer, bot: ExampleBot) -> None:
    await bot.wait_until_ready()
    updated = asyncio.ensure_future(bot.wait_for("guild_update", timeout=5))
    await asyncio.sleep(0)
    server.boost(2)
    await updated
    guild = bot.get_guild(server.guild.id)
    assert guild is not None
    assert guild.filesize_limit == server.guild.upload_limit == 50 * 2**20


async def test_a_removed_channel_is_unknown_to_the_client_and_to_the_api(
    server: DiscordServer, bot: ExampleBot
) -> None:
    await bot.wait_until_ready()
    gone = asyncio.ensure_future(bot.wait_for("guild_channel_delete", timeout=5))
    await asyncio.sleep(0)
    server.remove_channel(server.channel)
    assert (await gone).id == server.channel.id
    with pytest.raises(discord.NotFound) as caught:
        await bot.get_partial_messageable(server.channel.id).send("hello")
    assert caught.value.code == 10003


# --- interactions ---


async def test_a_command_with_an_attachment_is_deferred_and_answered_in_private(
    server: DiscordServer, bot: ExampleBot
) -> None:
    asked = await server.slash("size", options={"prompt": "a cat"}, attachments={"image": b"meow"})
    answer = await asked.answer()
    assert asked.callback is Callback.DEFERRED_MESSAGE
    assert answer.content == "a cat 4 480P 0"
    assert answer.ephemeral
    assert not server.messages()
    assert bot.application_id == server.state.bot.id


@pytest.mark.usefixtures("bot")
async def test_a_subcommand_reaches_its_handler_with_the_resolved_member(server: DiscordServer) -> None:
    asked = await server.slash("videos of", options={"member": server.member})
    assert (await asked.answer()).content == "mia in Moving Pictures"


@pytest.mark.usefixtures("bot")
async def test_the_first_followup_fills_a_public_deferral_and_later_ones_may_be_private(
    server: DiscordServer,
) -> None:
    asked = await server.slash("public")
    await asked.until(lambda: asked.followups)
    assert contents(server) == ["first"]
    assert [message.ephemeral for message in asked.followups] == [True]


@pytest.mark.usefixtures("bot")
async def test_autocompletion_gives_choices_for_the_text_so_far(server: DiscordServer) -> None:
    asked = await server.autocomplete("size", "resolution", {"resolution": "7"})
    assert await asked.acknowledged() is Callback.AUTOCOMPLETE
    assert asked.choices == [{"name": "720P", "value": "720P"}]


@pytest.mark.usefixtures("bot")
async def test_a_click_updates_the_message_under_the_button(server: DiscordServer) -> None:
    shown = await (await server.slash("menu")).answer()
    assert shown.custom_ids == ["again", "why"]
    await (await server.click(shown.id, "again")).acknowledged()
    assert contents(server) == ["again!"]
    assert shown.custom_ids == []


@pytest.mark.usefixtures("bot")
async def test_a_modal_is_opened_and_submitted(server: DiscordServer) -> None:
    shown = await (await server.slash("menu")).answer()
    asked = await server.click(shown.id, "why")
    submitted = await server.submit(asked, {"reason": "it rains"})
    assert (await submitted.answer()).content == "because it rains"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"prompt": "eleven char"}, "prompt: 11 is outside of 1 to 10"),
        ({"prompt": "cat", "seed": 10}, "seed: 10 is outside of 0 to 9"),
        ({"prompt": "cat", "seed": "1"}, "seed: '1' is no integer"),
        ({"prompt": "cat", "sneed": 1}, "has no option sneed"),
        ({}, "requires prompt"),
    ],
)
@pytest.mark.usefixtures("bot")
async def test_a_member_cannot_send_what_the_declaration_forbids(
    server: DiscordServer, options: dict[str, str | int], complaint: str
) -> None:
    with pytest.raises(InputRejected, match=complaint):
        await server.slash("size", options=options, attachments={"image": b""})


async def test_an_expired_interaction_token_is_refused_as_by_discord(
    server: DiscordServer, bot: ExampleBot
) -> None:
    asked = await server.slash("menu")
    await asked.answer()
    asked.expire()
    webhook = discord.Webhook.partial(server.state.bot.id, asked.token, client=bot)
    with pytest.raises(discord.HTTPException) as caught:
        await webhook.send("late")
    assert (caught.value.status, caught.value.code) == (401, 50027)


async def test_an_interaction_can_be_answered_only_once(server: DiscordServer, bot: ExampleBot) -> None:
    @bot.tree.command(name="twice", description="answers twice")
    async def twice(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("one")
        interaction.response._response_type = None
        with pytest.raises(discord.HTTPException) as caught:
            await interaction.response.send_message("two")
        await interaction.followup.send(str(caught.value.code))

    await bot.tree.sync()
    asked = await server.slash("twice")
    await asked.until(lambda: asked.followups)
    assert contents(server) == ["one", "40060"]


# --- messages ---


async def test_one_nonce_makes_one_message(server: DiscordServer, channel: discord.PartialMessageable) -> None:
    first = await channel.send("hello", nonce="job-1")
    again = await channel.send("hello", nonce="job-1")
    assert first.id == again.id
    assert contents(server) == ["hello"]


async def test_a_forgotten_nonce_makes_another_message(
    server: DiscordServer, channel: discord.PartialMessageable
) -> None:
    await channel.send("hello", nonce="job-1")
    server.state.forget_nonces()
    await channel.send("hello", nonce="job-1")
    assert contents(server) == ["hello", "hello"]


async def test_a_nonce_applies_to_its_channel_only(
    server: DiscordServer, channel: discord.PartialMessageable
) -> None:
    other = server.state.add_channel(server.guild, "other")
    await channel.send("hello", nonce="job-1")
    await channel._state._get_client().get_partial_messageable(other.id).send("hello", nonce="job-1")
    assert len(server.messages(other.id)) == 1


async def test_an_uploaded_file_is_stored_and_served(
    server: DiscordServer, channel: discord.PartialMessageable
) -> None:
    message = await channel.send(file=discord.File(io.BytesIO(b"\x00\x01film"), "film.mp4"))
    assert message.attachments[0].content_type == "video/mp4"
    assert await message.attachments[0].read() == b"\x00\x01film"
    assert server.messages()[0].attachments[0].upload.data == b"\x00\x01film"


async def test_a_file_over_the_guilds_limit_is_refused(
    server: DiscordServer, channel: discord.PartialMessageable
) -> None:
    server.guild.upload_limit_bytes = 4
    await channel.send(file=discord.File(io.BytesIO(b"1234"), "fits.mp4"))
    with pytest.raises(discord.HTTPException) as caught:
        await channel.send(file=discord.File(io.BytesIO(b"12345"), "large.mp4"))
    assert (caught.value.status, caught.value.code) == (413, 40005)
    assert len(server.messages()) == 1


async def test_an_edit_changes_only_the_given_fields(
    server: DiscordServer, channel: discord.PartialMessageable
) -> None:
    message = await channel.send("queued", file=discord.File(io.BytesIO(b"x"), "x.png"))
    await channel.get_partial_message(message.id).edit(content="running")
    held = server.messages()[0]
    assert (held.content, held.edits, len(held.attachments)) == ("running", 1, 1)


async def test_history_pages_in_every_direction(
    server: DiscordServer, channel: discord.PartialMessageable
) -> None:
    made = [await channel.send(str(number)) for number in range(6)]
    assert [found.content async for found in channel.history(limit=2)] == ["5", "4"]
    assert [found.content async for found in channel.history(before=made[2])] == ["1", "0"]
    assert [found.content async for found in channel.history(after=made[3])] == ["4", "5"]
    assert [found.content async for found in channel.history(after=made[0], limit=2)] == ["1", "2"]
    assert [found.content async for found in channel.history(around=made[2], limit=3)] == ["3", "2", "1"]
    await channel.get_partial_message(made[5].id).delete()
    assert contents(server) == ["0", "1", "2", "3", "4"]


async def test_a_mention_pings_only_whom_the_sender_allows(
    server: DiscordServer, channel: discord.PartialMessageable
) -> None:
    other = server.state.add_member(server.guild, "noa")
    allowed = discord.AllowedMentions(everyone=False, users=[discord.Object(server.member.id)], roles=False)
    await channel.send(f"@everyone {other.mention} {server.member.mention}", allowed_mentions=allowed)
    message = server.messages()[0]
    assert message.pinged == [server.member]
    assert not message.pings_everyone


@pytest.mark.parametrize(("overwrite", "code"), [(SEND_DENIED, 50013), (VIEW_DENIED, 50001)])
async def test_a_missing_permission_is_refused_with_discords_code(
    server: DiscordServer, channel: discord.PartialMessageable, overwrite: Overwrite, code: int
) -> None:
    server.channel.overwrites[server.state.bot.id] = overwrite
    with pytest.raises(discord.Forbidden) as caught:
        await channel.send("hello")
    assert caught.value.code == code


async def test_an_unknown_message_is_refused_with_discords_code(channel: discord.PartialMessageable) -> None:
    with pytest.raises(discord.NotFound) as caught:
        await channel.fetch_message(1)
    assert caught.value.code == 10008
