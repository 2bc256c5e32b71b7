"""A small local Discord for the real discord.py: REST, gateway and files.

It models what an offline simulation of the client does not: nonces, upload limits, rate limits, 5xx, broken
connections, dead tokens, sessions that resume. Everything a test needs comes from here:

    async with DiscordServer() as server:
        server.fail_next("POST", "/channels/*/messages", rate_limited(0.1))
        asked = await server.slash("animate", options={"prompt": "a storm"}, attachments={"image": photo})
        message = await asked.answer()
"""

from tests.discord_server.clients import connected, logged_in
from tests.discord_server.commands import InputRejected
from tests.discord_server.faults import (
    Answer,
    CloseWebsocket,
    FaultPhase,
    Hang,
    Reset,
    Truncated,
    banned_by_cloudflare,
    not_json,
    rate_limited,
    refused,
    server_error,
)
from tests.discord_server.interactions import Callback, Interaction
from tests.discord_server.messages import Message, Upload
from tests.discord_server.models import Channel, Guild, Overwrite, User
from tests.discord_server.server import DiscordServer

__all__ = [
    "Answer",
    "Callback",
    "Channel",
    "CloseWebsocket",
    "DiscordServer",
    "FaultPhase",
    "Guild",
    "Hang",
    "InputRejected",
    "Interaction",
    "Message",
    "Overwrite",
    "Reset",
    "Truncated",
    "Upload",
    "User",
    "banned_by_cloudflare",
    "connected",
    "logged_in",
    "not_json",
    "rate_limited",
    "refused",
    "server_error",
]
