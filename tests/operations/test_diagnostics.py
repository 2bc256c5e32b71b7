import asyncio
import logging
import os
import signal

import pytest

from bot.operations.diagnostics import diagnostics_on_signal


async def test_a_signal_has_the_tasks_counted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    step = asyncio.create_task(asyncio.Event().wait(), name="job abc")
    async with diagnostics_on_signal():
        caplog.set_level(logging.INFO)
        os.kill(os.getpid(), signal.SIGUSR1)
        while not caplog.records:
            await asyncio.sleep(0)
    step.cancel()
    assert caplog.records[0].getMessage() == "diagnostics: 2 tasks, 1 of them job stages"
