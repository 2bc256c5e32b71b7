from bot.demo import runner
from bot.demo.preview import SAMPLE_PICTURE
from bot.demo.welcome import welcome


async def test_the_demo_starts_with_a_greeting_a_usable_sample_and_an_admin_view() -> None:
    async with runner.running() as demo:
        discord = demo.discord
        await welcome(discord)

        (greeting,) = discord.messages()
        assert "`/animate`" in greeting.content
        assert await greeting.attachments[0].read() == SAMPLE_PICTURE.read_bytes()
        assert "Got it!" in await discord.animate(SAMPLE_PICTURE.read_bytes(), SAMPLE_PICTURE.name, "waves")

        yours, moderators, _ = discord.views
        assert "video-admin approval" not in yours.member.available_commands(yours.channel)
        assert "video-admin approval" in moderators.member.available_commands(moderators.channel)
        assert any("/video-admin approval" in message.content for message in moderators.channel.history())
