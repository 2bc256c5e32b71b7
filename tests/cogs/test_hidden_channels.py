"""A refusal names only channels that the member can see."""

import discord

from tests.cogs.admins import admin, ask
from tests.cogs.conftest import CogHarness


async def test_a_refusal_does_not_name_an_allowed_channel_that_the_member_cannot_see(harness: CogHarness) -> None:
    admin_user = admin(harness)
    guild = harness.offline.guild
    hidden = guild.create_text_channel(
        "moderators",
        overwrites={
            guild.default_role: discord.PermissionOverwrite(view_channel=False),
            admin_user: discord.PermissionOverwrite(view_channel=True),
        },
    )
    await ask(harness, admin_user, "video-admin channels allow", channel=hidden)

    alone = await harness.animate()
    shown = guild.create_text_channel("studio")
    await ask(harness, admin_user, "video-admin channels allow", channel=shown)
    among_others = await harness.animate()

    assert "You can't make videos in this channel. Please use another channel." in alone
    assert f"Use <#{shown.id}> instead." in among_others
