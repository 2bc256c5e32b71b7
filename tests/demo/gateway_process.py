"""Runs the local gateway until a signal stops it: `gateway_process.py FOLDER`. It prints its address."""

import asyncio
import sys
from pathlib import Path

from bot.demo.gateway import LocalGateway
from bot.process import stop_signal


async def main(folder: Path) -> None:
    async with LocalGateway(folder, "demo-key") as gateway:
        print(gateway.url, flush=True)  # noqa: T201 - the test reads it
        await stop_signal()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
