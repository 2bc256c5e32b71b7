"""Starts the local Discord by itself: `python -m tests.discord_server --port 8123`.

Prints one line of JSON with what a bot's settings need, then runs until it is interrupted.
"""

import argparse
import asyncio
import contextlib
import json
import sys

from tests.discord_server.server import DiscordServer


async def run(port: int) -> None:
    async with DiscordServer(port=port) as server:
        settings = {
            "DISCORD_API_URL": server.api_url,
            "DISCORD_GATEWAY_URL": server.gateway_url,
            "DISCORD_TOKEN": server.token,
            "guild_id": str(server.guild.id),
            "channel_id": str(server.channel.id),
            "user_id": str(server.member.id),
        }
        sys.stdout.write(json.dumps(settings) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(run(parser.parse_args().port))
