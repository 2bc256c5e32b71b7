"""`python bare_delivery.py RESULT_URL MESSAGES_URL TOKEN`: delivers videos as plain aiohttp does.

Prints a line when it is ready. For each number that it reads, it delivers so many side by side and prints the
seconds; each video is streamed to a file and posted from it.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

_CHUNK_BYTES = 1 << 16


async def deliver(session: aiohttp.ClientSession, result: str, messages: str, file: Path) -> None:
    """Delivers one video."""
    async with session.get(result) as response:
        with file.open("wb") as out:
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                out.write(chunk)
    with file.open("rb") as video:
        form = aiohttp.FormData()
        form.add_field("payload_json", '{"content": "your video"}')
        form.add_field("files[0]", video, filename="video.mp4", content_type="application/octet-stream")
        async with session.post(messages, data=form) as posted:
            await posted.read()


async def main(result: str, messages: str, token: str) -> None:
    """Delivers all of them."""
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Authorization": f"Bot {token}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        with tempfile.TemporaryDirectory() as folder:
            print("ready", flush=True)
            for count in sys.stdin:
                begin = time.perf_counter()
                files = (Path(folder) / str(number) for number in range(int(count)))
                await asyncio.gather(*(deliver(session, result, messages, file) for file in files))
                print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
