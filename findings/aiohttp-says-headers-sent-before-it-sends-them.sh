#!/usr/bin/env bash
# aiohttp's tracing signals "headers sent" and "chunk sent" come before anything is sent.
#
# Versions: aiohttp 3.14.5; Python 3.11.
# Guess:    `on_request_headers_sent` is called once the request's line and headers have been written to the
#           connection, and `on_request_chunk_sent` once the chunk has; too late to keep them from the server.
# Happens:  both are called before. What raises in the first leaves the server with a connection and not one byte;
#           so does what raises at the first chunk, since the headers wait for it; at the second chunk, the headers
#           and the first chunk have arrived. The request raises the signal's own error from the headers, and a
#           ClientConnectionError, with that error as its cause, from a chunk.
# Matters:  the last moment to withhold a request, such as one whose lease ended while it connected, has a name that
#           says it is over; and a time or a counter taken there is that of a request that may never leave.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5

cat > "$work/recorded" <<'RECORDED'
at headers: Withheld, caused by nothing; the server got 1 connection, headers False, chunks 0
at chunk 1: ClientConnectionError, caused by Withheld; the server got 1 connection, headers False, chunks 0
at chunk 2: ClientConnectionError, caused by Withheld; the server got 1 connection, headers True, chunks 1
RECORDED

cat > "$work/run.py" <<'PYTHON'
import asyncio

import aiohttp


class Withheld(Exception):
    pass


async def parts():
    yield b"part-1"
    await asyncio.sleep(0.2)
    yield b"part-2"


async def attempt(place):
    received, ended = [], asyncio.Event()

    async def serve(reader, writer):
        received.append(b"")
        while data := await reader.read(65536):
            received.append(data)
        writer.close()
        ended.set()

    chunks = 0

    async def headers(*_):
        if place == "headers":
            raise Withheld

    async def chunk(*_):
        nonlocal chunks
        chunks += 1
        if place == f"chunk {chunks}":
            raise Withheld

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    traces = aiohttp.TraceConfig()
    traces.on_request_headers_sent.append(headers)
    traces.on_request_chunk_sent.append(chunk)
    async with aiohttp.ClientSession(trace_configs=[traces]) as session:
        try:
            await session.post(f"http://127.0.0.1:{port}/", data=parts())
        except (Withheld, aiohttp.ClientError) as error:
            cause = type(error.__cause__).__name__ if error.__cause__ else "nothing"
            raised = f"{type(error).__name__}, caused by {cause}"
    await asyncio.wait_for(ended.wait(), 10)
    server.close()
    seen = b"".join(received)
    connections = sum(data == b"" for data in received)
    print(
        f"at {place}: {raised}; the server got {connections} connection, "
        f"headers {seen.startswith(b'POST ')}, chunks {seen.count(b'part-')}"
    )


async def main():
    for place in ("headers", "chunk 1", "chunk 2"):
        await attempt(place)


asyncio.run(main())
PYTHON
"$work/venv/bin/python" "$work/run.py" | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
