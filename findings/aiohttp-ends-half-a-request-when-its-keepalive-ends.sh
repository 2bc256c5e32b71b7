#!/usr/bin/env bash
# The keep-alive time of aiohttp's server also runs while a request's head arrives, and cuts it off.
#
# Versions: aiohttp 3.14.5; Python 3.11.
# Guess:    `keepalive_timeout` is how long a connection may be idle between two requests. It begins with a response
#           and ends with the first byte of the next request; a head that takes longer needs a limit of its own.
# Happens:  it begins with the connection, and ends only once a head is complete. With one second, a client that sends
#           a byte now and then is cut off in the middle of its first request and of its second, with no 408 and no
#           other answer; as is one that sends nothing. With a minute, the same requests are still open after three
#           seconds.
# Matters:  it is the limit on slow heads that the server seems to lack, so a service should set it for that; but one
#           who sets it low, to free idle connections, also cuts off whoever sends slowly over a bad network.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5

cat > "$work/recorded" <<'RECORDED'
keep-alive 1 s: nothing sent: closed, answers: 0
keep-alive 1 s: idle after a request: closed, answers: 1
keep-alive 1 s: slow first head: closed, answers: 0
keep-alive 1 s: slow second head: closed, answers: 1
keep-alive 60 s: slow first head: open, answers: 0
keep-alive 60 s: slow second head: open, answers: 1
RECORDED

cat > "$work/run.py" <<'PYTHON'
import asyncio

from aiohttp import web

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
CASES = {
    "nothing sent": (b"", b""),
    "idle after a request": (HEAD, b""),
    "slow first head": (b"", HEAD),
    "slow second head": (HEAD, HEAD),
}


async def answer(request):
    return web.Response()


async def send_slowly(writer, data):
    for byte in data:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.4)


async def attempt(port, at_once, slowly):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(at_once)
    sending = asyncio.create_task(send_slowly(writer, slowly))
    received, state = b"", "open"
    try:
        async with asyncio.timeout(3):
            while data := await reader.read(1000):
                received += data
        state = "closed"
    except TimeoutError:
        pass
    except ConnectionResetError:
        state = "closed"
    sending.cancel()
    writer.close()
    return state, received.count(b"HTTP/1.1 ")


async def main():
    for keepalive_s in (1, 60):
        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app, keepalive_timeout=keepalive_s)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        for name, (at_once, slowly) in CASES.items():
            if keepalive_s == 1 or slowly:
                state, answers = await attempt(runner.addresses[0][1], at_once, slowly)
                print(f"keep-alive {keepalive_s} s: {name}: {state}, answers: {answers}")
        await runner.cleanup()


asyncio.run(main())
PYTHON
"$work/venv/bin/python" "$work/run.py" | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
