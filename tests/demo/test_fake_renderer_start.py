import asyncio
import threading
from pathlib import Path, PosixPath
from typing import Any

import pytest

from bot.demo.fake_renderer import RenderPool


async def test_a_pool_cancelled_while_it_starts_does_not_recreate_its_folder(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class SlowFolder(PosixPath):
        """A folder that is slow to create."""

        def mkdir(self, *args: Any, **kwargs: Any) -> None:
            begun.set()
            go_on.wait()
            super().mkdir(*args, **kwargs)

    entering = asyncio.create_task(RenderPool(SlowFolder(tmp_path / "demo" / "upstream")).__aenter__())
    await asyncio.to_thread(begun.wait)
    entering.cancel()
    await asyncio.sleep(0)
    threading.Timer(0.1, go_on.set).start()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert go_on.is_set()  # it waited for its thread, so whoever cleans up now is the last
