#!/usr/bin/env bash
# A discord.py client that is closed soon after it connected becomes ready two seconds later.
#
# Versions: discord.py 2.7.1, aiohttp 3.14.5, yarl 1.25.1; Python 3.11.
# Guess:    after `await client.close()` no task of the client is left, and `is_ready()` stays False.
# Happens:  the task that waits for the guilds after READY is still alive. It sets the client ready, then fails to start
#           `on_ready`: `is_closed()` and `is_ready()` are both True, and asyncio logs an unretrieved exception.
# Matters:  a bot that is stopped while it starts logs an error that looks like its own, and code that asks
#           `is_ready()` before it sends something uses a closed session.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    discord.py==2.7.1 aiohttp==3.14.5 yarl==1.25.1

cat > "$work/recorded" <<'RECORDED'
just closed: is_closed True is_ready False
a little later: is_closed True is_ready True
Task exception was never retrieved - AttributeError
RECORDED

cat > "$work/run.py" <<'PYTHON'
import asyncio
import gc
import json

import discord
import yarl
from aiohttp import web

ME = {"id": "1", "username": "bot", "discriminator": "0", "avatar": None, "bot": True}
APPLICATION = {"id": "1", "name": "", "icon": None, "description": "", "verify_key": "", "flags": 0, "owner": ME}
APPLICATION |= {"bot_public": True, "bot_require_code_grant": False, "team": None}


class Bot(discord.Client):
    async def on_connect(self):
        await self.close()

    async def on_ready(self):
        print("on_ready runs")


async def rest(request):
    answer = ME if request.path.endswith("/users/@me") else APPLICATION
    return web.Response(body=json.dumps(answer).encode(), headers={"Content-Type": "application/json"})


async def gateway(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_json({"op": 10, "d": {"heartbeat_interval": 40_000}})
    async for message in socket:
        if json.loads(message.data)["op"] == 2:  # IDENTIFY
            ready = {"v": 10, "user": ME, "guilds": [], "session_id": "s", "resume_gateway_url": str(request.url)}
            await socket.send_json({"op": 0, "s": 1, "t": "READY", "d": ready | {"application": APPLICATION}})
    return socket


async def main():
    failures = []
    asyncio.get_running_loop().set_exception_handler(lambda _, failure: failures.append(failure))
    app = web.Application()
    app.add_routes([web.get("/gateway", gateway), web.get("/{path:.*}", rest)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    discord.http.Route.BASE = f"http://127.0.0.1:{port}"
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(f"ws://127.0.0.1:{port}/gateway")
    client = Bot(intents=discord.Intents.none())
    await client.start("token")
    print("just closed: is_closed", client.is_closed(), "is_ready", client.is_ready())
    while not failures:
        await asyncio.sleep(0.1)
        gc.collect()  # asyncio reports a failed task when it is collected
    print("a little later: is_closed", client.is_closed(), "is_ready", client.is_ready())
    print(failures[0]["message"], "-", type(failures[0]["exception"]).__name__)


asyncio.run(asyncio.wait_for(main(), 60))
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
