"""Files from Discord's servers: which links are taken, and what reading them does."""

import asyncio

import pytest
from aiohttp import web
from yarl import URL

from bot.domain.errors import FileGone, FileTooLarge, FileUnreachable
from bot.providers.discord_files import parse_file_link
from tests.providers.discord_cdn import discord_cdn

CDN = "https://cdn.discordapp.com"
SIGNED = f"{CDN}/attachments/1/2/sea.png?ex=6564&is=6552&hm=ab12"


def parsed(text: str) -> URL:
    url = parse_file_link(text)
    assert url is not None
    return url


@pytest.mark.parametrize(
    "link",
    [
        SIGNED,
        f"{CDN}/ephemeral-attachments/1/2/sea.png?ex=1&is=2&hm=3",
        f"{CDN}/avatars/80351110224678912/a_2b.png?size=1024",
        f"{CDN}/emojis/41771983429993937.webp?size=96&quality=lossless",
        f"{CDN}/stickers/749054660769218631.png",
        "https://media.discordapp.net/stickers/749054660769218631.gif",
        "https://images-ext-1.discordapp.net/external/h4sh/https/example.org/a.jpg",
        "https://images-ext-2.discordapp.net/external/h4sh/%3Fw%3D5/https/example.org/a%20b.jpg",
    ],
)
def test_a_link_to_discords_servers_is_taken_as_it_is(link: str) -> None:
    assert str(parsed(link)) == link


def test_spaces_and_angle_brackets_around_a_link_are_left_out() -> None:
    assert str(parsed(f"  <{SIGNED}> ")) == SIGNED


def test_a_link_to_a_smaller_copy_becomes_one_to_the_original() -> None:
    small = "https://media.discordapp.net/attachments/1/2/a.png?ex=1&is=2&hm=3&=&format=webp&width=40&height=30"

    assert str(parsed(small)) == "https://media.discordapp.net/attachments/1/2/a.png?ex=1&is=2&hm=3"


@pytest.mark.parametrize(
    "link",
    [
        "",
        "sea.png",
        "http://cdn.discordapp.com/attachments/1/2/a.png",
        "ftp://cdn.discordapp.com/attachments/1/2/a.png",
        "https://cdn.discordapp.com",
        "https://cdn.discordapp.com/",
        "https://cdn.discordapp.com:8443/attachments/1/2/a.png",
        "https://cdn.discordapp.com:443/attachments/1/2/a.png",
        "https://me@cdn.discordapp.com/attachments/1/2/a.png",
        "https://me:secret@cdn.discordapp.com/attachments/1/2/a.png",
        "https://cdn.discordapp.com@example.org/a.png",
        "https://cdn.discordapp.com.example.org/a.png",
        "https://cdn.discordapp.com./a.png",
        "https://example.org/cdn.discordapp.com/a.png",
        "https://evil-cdn.discordapp.com/a.png",
        "https://images-ext-.discordapp.net/a.png",
        "https://images-ext-1.discordapp.net.evil.example/a.png",
        "https://discord.com/channels/1/2/3",
        "https://127.0.0.1/a.png",
        "https://[::1]/a.png",
        "https://ｃdn.discordapp.com\\@example.org/a.png",
        "https://cdn.discordapp.com\n.example.org/a.png",
        "https://[/a.png",
    ],
)
def test_any_other_link_is_refused(link: str) -> None:
    url = parse_file_link(link)

    assert url is None


async def test_the_file_behind_a_link_is_read() -> None:
    async with discord_cdn() as (server, files):
        server.answers(b"a picture")

        assert await files.read(parsed(SIGNED)) == b"a picture"

        (request,) = server.seen
        assert request.path == "/attachments/1/2/sea.png?ex=6564&is=6552&hm=ab12"
        assert request.headers["Host"] == "cdn.discordapp.com"
        assert not {"Authorization", "Cookie"} & request.headers.keys()


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_file_that_is_gone_is_not_asked_for_again(status: int) -> None:
    async with discord_cdn() as (server, files):
        server.answers(b"This content is no longer available.", status)

        with pytest.raises(FileGone):
            await files.read(parsed(SIGNED))

        assert len(server.seen) == 1


async def test_a_failing_server_is_asked_again() -> None:
    async with discord_cdn() as (server, files):

        async def second_time(_: web.Request) -> web.Response:
            return web.Response(status=503) if len(server.seen) == 1 else web.Response(body=b"a picture")

        server.reply = second_time

        assert await files.read(parsed(SIGNED)) == b"a picture"


async def test_a_server_that_keeps_failing_is_given_up() -> None:
    async with discord_cdn() as (server, files):
        server.answers(b"", 500)

        with pytest.raises(FileUnreachable):
            await files.read(parsed(SIGNED))


async def test_a_server_that_cannot_be_reached_is_given_up() -> None:
    async with discord_cdn() as (_, files):
        with pytest.raises(FileUnreachable):
            await files.read(parsed("https://images-ext-2.discordapp.net/external/a.png"))


async def test_a_redirect_is_not_followed() -> None:
    async with discord_cdn() as (server, files):
        server.answers(b"", 302, Location="https://media.discordapp.net/elsewhere.png")

        with pytest.raises(FileUnreachable):
            await files.read(parsed(SIGNED))

        assert {request.path.partition("?")[0] for request in server.seen} == {"/attachments/1/2/sea.png"}


async def test_a_file_that_says_it_is_too_large_is_not_read() -> None:
    async with discord_cdn(max_bytes=10) as (server, files):
        server.answers(b"x" * 11)

        with pytest.raises(FileTooLarge) as refused:
            await files.read(parsed(SIGNED))

        assert refused.value.size_bytes == 11


async def test_a_file_that_hides_its_size_is_cut_off_at_the_limit() -> None:
    async with discord_cdn(max_bytes=1000) as (server, files):
        given_up = asyncio.Event()

        async def endless(request: web.Request) -> web.StreamResponse:
            answer = web.StreamResponse()
            await answer.prepare(request)
            try:
                while True:
                    await answer.write(b"x" * 500)
                    await asyncio.sleep(0)
            finally:
                given_up.set()

        server.reply = endless

        with pytest.raises(FileTooLarge):
            await files.read(parsed(SIGNED))
        await given_up.wait()
