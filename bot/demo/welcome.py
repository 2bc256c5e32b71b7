"""What a newcomer finds in the demo: a greeting, a sample picture and a moderators' channel."""

import asyncio

import discord

from bot.demo.offline_discord import OfflineDiscord
from bot.demo.preview import SAMPLE_PICTURE, ChannelView

_AUTHOR = "Guide"

_VIDEOS = """\
## Welcome to Zoetrope 👋
The bot in this channel is the real one, running on your machine. Two things around it are stand-ins: this page \
plays Discord, and a small local program plays the video model. It doesn't read your prompt; it only moves the \
camera through your picture. Nothing leaves your machine, nothing costs money, and everything is deleted when you \
stop the demo.

**Make your first video**
1. Type `/animate` in the box below and choose the command.
2. Write a `prompt`, such as `the beam sweeps over the waves`.
3. Click **+… more** and choose `image`. Click **Use sample** for the picture under this text, or choose a file \
of your own (on this page up to 10 MB). Then click the arrow on the right.

Your video appears here within half a minute; a real model takes a minute or two. After that, \
try the buttons under it, `/videos list` and `/help`.
**The admin side:** switch to *Maya, #moderators* at the top of the page."""

_MODERATORS = """\
## The moderators' channel
Here you are Maya, a moderator: she has *Manage Server*, so she gets the `/video-admin` commands and decides \
which videos are made. Other members don't see this channel.

- **Approve videos:** run `/video-admin approval` with `needed: on`. Switch back to *You, #videos*, ask for \
a video, and return here to click **Approve** or **Decline**.
- **See every setting:** `/video-admin settings`
- **Set limits:** `/video-admin limits server`, or `limits member` for one person
- **See usage and cost:** `/video-admin usage`

Changes, refusals and failures are reported here too, because this is the server's log channel."""


async def welcome(offline: OfflineDiscord) -> None:
    """Adds a moderator with a channel of her own to the server, and posts the greetings."""
    maya = offline.add_member("Maya", permissions=discord.Permissions(manage_guild=True, manage_messages=True))
    moderators = offline.add_channel("moderators", topic="Approvals, limits and usage", only=maya)
    await maya.slash(moderators, "video-admin log channel", channel=moderators)
    picture = await asyncio.to_thread(SAMPLE_PICTURE.read_bytes)
    await offline.post(offline.channel, _AUTHOR, _VIDEOS, (SAMPLE_PICTURE.name, picture))
    await offline.post(moderators, _AUTHOR, _MODERATORS)
    offline.views = [
        ChannelView("You, #videos", offline.viewer, offline.channel),
        ChannelView("Maya, #moderators", maya, moderators),
        ChannelView("Maya, #videos", maya, offline.channel),
    ]
