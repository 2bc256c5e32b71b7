"""The loop over running tasks that one would write by hand: `python bare_loop.py PORT JOBS SECONDS`.

A coroutine for each task polls it again and again over one session. It prints the polls a second.
"""

import asyncio
import sys
import time

import aiohttp

WARM_UP_SHARE = 0.25


async def poll(session: aiohttp.ClientSession, url: str, counted: list[int]) -> None:
    """Polls one task for ever."""
    while True:
        async with session.get(url) as response:
            answer = await response.json()
        if answer["status"] != "in_progress":
            return
        counted[0] += 1


async def rate(port: int, jobs: int, seconds: float) -> float:
    """Polls a second, after a while."""
    counted = [0]
    headers = {"Authorization": "Bearer key"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=None)) as session:
        base = f"http://127.0.0.1:{port}/model/v1/generation/task"
        tasks = [asyncio.create_task(poll(session, f"{base}/task-{n}", counted)) for n in range(1, jobs + 1)]
        await asyncio.sleep(seconds * WARM_UP_SHARE)
        begin_s, before = time.monotonic(), counted[0]
        await asyncio.sleep(seconds * (1 - WARM_UP_SHARE))
        found = (counted[0] - before) / (time.monotonic() - begin_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


if __name__ == "__main__":
    port, jobs, seconds = sys.argv[1:]
    print(asyncio.run(rate(int(port), int(jobs), float(seconds))))
