"""A small Discord of its own, on loopback, for the real discord.py: REST, gateway and files.

It models what an offline simulation of the client doesn't: nonces, upload limits, rate limits, 5xx, broken
connections, dead tokens, sessions that resume. Everything a test needs comes from here:

    async with DiscordServer() as server:
        server.fail_next("POST", "/channels/*/messages", rate_limited(0.1))
        asked = await server.slash("animate", options={"prompt": "a storm"}, attachments={"image": photo})
        message = await asked.answer()
"""

from tests.discord_server.clients import connected, logged_in
from tests.discord_server.commands import NotTypable
from tests.discord_server.faults import (
    Answer,
    Half,
    Hang,
    Moment,
    Reset,
    Slam,
    banned_by_cloudflare,
    ill,
    rate_limited,
    refused,
    unreadable,
)
from tests.discord_server.interactions import Callback, Interaction
from tests.discord_server.server import DiscordServer
from tests.discord_server.state import Channel, Guild, Message, Overwrite, Upload, User

__all__ = [
    "Answer",
    "Callback",
    "Channel",
    "DiscordServer",
    "Guild",
    "Half",
    "Hang",
    "Interaction",
    "Message",
    "Moment",
    "NotTypable",
    "Overwrite",
    "Reset",
    "Slam",
    "Upload",
    "User",
    "banned_by_cloudflare",
    "connected",
    "ill",
    "logged_in",
    "rate_limited",
    "refused",
    "unreadable",
]
