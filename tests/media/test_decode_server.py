"""The server that forks decoders: when it starts, what replaces it, and how it ends."""

import asyncio
import os

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest

from bot.media.decode_client import DecodeClient, DecoderNotStarted
from bot.media.first_frame import prepare_first_frame
from tests.media.decoders import (
    GOOD_PICTURE,
    cancel,
    decoders,
    hanging_decoder,
    hanging_decoders,
    is_alive,
    linux_only,
    refusal,
)

pytestmark = pytest.mark.usefixtures("no_decoder_outlives_a_test")


async def test_the_pictures_of_a_server_that_is_killed_are_decoded_by_another(rogue: DecodeClient) -> None:
    hanging = asyncio.create_task(rogue.prepare(b"hang"))
    server = (await hanging_decoder()).parent()
    good = asyncio.create_task(rogue.prepare(GOOD_PICTURE))
    server.kill()
    assert await good == prepare_first_frame(GOOD_PICTURE)
    assert (await hanging_decoder()).parent() != server
    await cancel(hanging)


async def test_pictures_that_kill_every_server_are_given_up(rogue: DecodeClient) -> None:
    hanging = asyncio.create_task(rogue.prepare(b"hang"))
    for _ in range(2):
        decoder = await hanging_decoder()
        decoder.parent().kill()
        while is_alive(decoder):
            await asyncio.sleep(0.01)
    with pytest.raises(DecoderNotStarted, match="-9"):
        await hanging


async def test_a_crash_replaces_the_server_so_that_nothing_is_learned_of_the_next_decoders_addresses(
    rogue: DecodeClient,
) -> None:
    hanging = asyncio.create_task(rogue.prepare(b"hang"))
    first = (await hanging_decoder()).parent()
    await refusal(rogue, b"crash")
    await rogue.prepare(GOOD_PICTURE)
    assert is_alive(first)
    assert {process for process in decoders() if process.ppid() == os.getpid()} > {first}
    await cancel(hanging)
    while is_alive(first):
        await asyncio.sleep(0.01)


async def test_a_picture_that_is_expected_finds_its_server_started(rogue: DecodeClient) -> None:
    rogue.expect_picture()
    rogue.expect_picture()
    while not (servers := decoders()):
        await asyncio.sleep(0.01)
    hanging = asyncio.create_task(rogue.prepare(b"hang"))
    assert (await hanging_decoder()).parent() == servers[0]
    await cancel(hanging)


async def test_pictures_share_a_server_and_no_decoder(rogue: DecodeClient) -> None:
    seen = set()
    for _ in range(2):
        hanging = asyncio.create_task(rogue.prepare(b"hang"))
        process = await hanging_decoder()
        seen.add((process.pid, process.ppid()))
        await cancel(hanging)
    pids, parents = zip(*seen, strict=True)
    assert len(pids) == 2
    assert len(set(parents)) == 1


async def test_closing_ends_a_server_and_its_decoders_and_refuses_their_pictures(rogue: DecodeClient) -> None:
    hanging = [asyncio.create_task(rogue.prepare(b"hang")) for _ in range(2)]
    processes = await hanging_decoders(2)
    await rogue.close()
    assert decoders() == []
    assert not any(psutil.pid_exists(one.pid) for one in processes)  # nor is any left for another to wait for
    for preparing in hanging:
        with pytest.raises(DecoderNotStarted, match="the bot is stopping"):
            await preparing


async def test_closing_ends_a_server_without_pictures(rogue: DecodeClient) -> None:
    await rogue.prepare(GOOD_PICTURE)
    assert len(decoders()) == 1
    await rogue.close()
    assert decoders() == []


async def test_closing_ends_a_server_that_was_started_for_an_expected_picture(rogue: DecodeClient) -> None:
    rogue.expect_picture()
    await asyncio.sleep(0)
    await rogue.close()
    assert decoders() == []


async def test_closing_ends_a_server_that_is_starting_and_refuses_its_picture(rogue: DecodeClient) -> None:
    preparing = asyncio.create_task(rogue.prepare(GOOD_PICTURE))
    await asyncio.sleep(0)
    await rogue.close()
    assert decoders() == []
    with pytest.raises(DecoderNotStarted, match="the bot is stopping"):
        await preparing


async def test_a_closed_client_refuses_pictures_and_starts_nothing(rogue: DecodeClient) -> None:
    await rogue.close()
    rogue.expect_picture()
    with pytest.raises(DecoderNotStarted, match="the bot is stopping"):
        await rogue.prepare(GOOD_PICTURE)
    assert decoders() == []


async def test_closing_twice_returns_both_times_once_all_has_ended(rogue: DecodeClient) -> None:
    hanging = asyncio.create_task(rogue.prepare(b"hang"))
    await hanging_decoder()

    async def close() -> list[psutil.Process]:
        await rogue.close()
        return decoders()

    for left in (*await asyncio.gather(close(), close()), await close()):
        assert left == []
    with pytest.raises(DecoderNotStarted, match="the bot is stopping"):
        await hanging


async def test_a_server_that_is_closed_while_it_ends_a_decoder_ends_cleanly(
    rogue: DecodeClient, caplog: pytest.LogCaptureFixture
) -> None:
    hanging = asyncio.create_task(rogue.prepare(b"hang"))
    server = (await hanging_decoder()).parent()
    server.suspend()
    hanging.cancel()
    await asyncio.wait({hanging}, timeout=0)
    closing = asyncio.create_task(rogue.close())
    await asyncio.wait({closing}, timeout=0)
    server.resume()  # finds both requests
    await asyncio.wait({hanging, closing})
    assert caplog.text == ""


@pytest.mark.full
@linux_only
async def test_closing_kills_a_server_that_does_not_react(rogue: DecodeClient) -> None:
    hanging = asyncio.create_task(rogue.prepare(b"hang"))
    server = (await hanging_decoder()).parent()
    server.suspend()
    await rogue.close()
    assert not is_alive(server)
    with pytest.raises(DecoderNotStarted, match="the bot is stopping"):
        await hanging
    while decoders():  # the kernel ends them with their server
        await asyncio.sleep(0.01)


async def test_a_server_without_pictures_ends_and_the_next_picture_starts_another() -> None:
    async with DecodeClient("tests.media.impatient_decoder") as client:
        for _ in range(2):
            assert await client.prepare(GOOD_PICTURE) == prepare_first_frame(GOOD_PICTURE)
            while decoders():
                await asyncio.sleep(0.01)
