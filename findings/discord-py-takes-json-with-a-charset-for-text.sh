#!/usr/bin/env bash
# discord.py reads a JSON answer as plain text when its content type names a charset.
#
# Versions: discord.py 2.7.1, aiohttp 3.14.5; Python 3.11.
# Guess:    "application/json; charset=utf-8" is JSON, as for aiohttp's own `response.json()`.
# Happens:  the answer stays a string, and logging in fails with a message that says nothing of the cause:
#           "string indices must be integers".
# Matters:  aiohttp's `web.json_response`, the obvious way to write an offline Discord for tests, sends such a header,
#           and so may a proxy. One suspects the token or the answer's fields before its content type.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    discord.py==2.7.1 aiohttp==3.14.5

cat > "$work/recorded" <<'RECORDED'
application/json -> bot
application/json; charset=utf-8 -> TypeError string indices must be integers, not 'str'
RECORDED

cat > "$work/run.py" <<'PYTHON'
import asyncio
import json

import discord
from aiohttp import web

ME = {"id": "1", "username": "bot", "discriminator": "0", "avatar": None, "bot": True}


async def main():
    kind = ""

    async def rest(_):
        return web.Response(body=json.dumps(ME).encode(), headers={"Content-Type": kind})

    app = web.Application()
    app.router.add_get("/users/@me", rest)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    discord.http.Route.BASE = f"http://127.0.0.1:{runner.addresses[0][1]}"
    for kind in ("application/json", "application/json; charset=utf-8"):
        http = discord.Client(intents=discord.Intents.none()).http
        try:
            print(kind, "->", (await http.static_login("token"))["username"])
        except TypeError as error:
            print(kind, "->", type(error).__name__, error)
        await http.close()
    await runner.cleanup()


asyncio.run(main())
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
