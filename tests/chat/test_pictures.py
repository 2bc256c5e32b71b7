"""Which pictures a message has."""

from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest

from bot.chat.messages.reason_texts import text_of
from bot.chat.offered_pictures import LIFETIME_S, OFFERS_MAX, OfferedPictures
from bot.chat.pictures import PICTURES_MAX, Picture, linked, pictures_in
from bot.domain.errors import NotPossible, PictureRefused
from bot.providers.discord_files import DiscordFiles
from tests.providers.discord_cdn import discord_cdn

CDN = "https://cdn.discordapp.com/attachments/1"
PROXY = "https://images-ext-1.discordapp.net/external/h4sh"
APNG, LOTTIE = 2, 3


@pytest.fixture
async def files() -> AsyncIterator[DiscordFiles]:
    async with discord_cdn() as (_, files):
        yield files


def attachment(number: int, name: str = "sea.png", kind: str | None = "image/png", **more: Any) -> dict[str, Any]:
    url = f"{CDN}/{number}/{name}?ex=1"
    about = {"id": str(number), "filename": name, "size": 5, "url": url, "proxy_url": url}
    return about | ({} if kind is None else {"content_type": kind}) | more


def message(**parts: Any) -> discord.Message:
    data: dict[str, Any] = {
        "id": "5",
        "channel_id": "1",
        "author": {"id": "7", "username": "mia", "discriminator": "0", "avatar": None},
        "content": "",
        "timestamp": "2026-01-01T00:00:00+00:00",
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "pinned": False,
        "type": 0,
    }
    client = discord.Client(intents=discord.Intents.none())
    sent: Any = data | parts
    channel: Any = client.get_partial_messageable(1)
    return discord.Message(state=client._connection, channel=channel, data=sent)


def names(pictures: list[Picture]) -> list[str | None]:
    return [picture.labels.name for picture in pictures]


async def test_attached_pictures_are_found_by_their_type_or_their_name(files: DiscordFiles) -> None:
    given = [
        attachment(1),
        attachment(2, "photo.HEIC", None),
        attachment(3, "clip.mp4", "video/mp4"),
        attachment(4, "drawing.svg", "image/svg+xml"),
        attachment(5, "raw.dng", "application/octet-stream"),
        attachment(6, "page.html", None),
    ]

    found = pictures_in(message(attachments=given), files)

    assert names(found) == ["sea.png", "photo.HEIC", "raw.dng"]
    assert [picture.is_displayable for picture in found] == [True, False, False]


async def test_an_attachment_keeps_its_alt_text_and_its_spoiler(files: DiscordFiles) -> None:
    given = [attachment(1, description="waves at dusk", flags=1 << 3)]

    (picture,) = pictures_in(message(attachments=given), files)

    assert (picture.labels.name, picture.labels.alt_text) == ("SPOILER_sea.png", "waves at dusk")


async def test_an_embeds_pictures_come_from_discords_own_copy(files: DiscordFiles) -> None:
    embed = {
        "type": "rich",
        "title": "Harbour",
        "image": {"url": "https://example.org/a.jpg", "proxy_url": f"{PROXY}/https/example.org/a.jpg"},
        "thumbnail": {"url": "https://example.org/b.jpg", "proxy_url": f"{PROXY}/https/example.org/b.jpg"},
    }

    found = pictures_in(message(embeds=[embed]), files)

    assert [picture.url for picture in found] == [
        f"{PROXY}/https/example.org/a.jpg",
        f"{PROXY}/https/example.org/b.jpg",
    ]
    assert names(found) == ["Harbour", "Harbour"]


async def test_an_embed_that_discord_has_no_copy_of_is_left_out(files: DiscordFiles) -> None:
    embed = {"type": "rich", "image": {"url": "https://example.org/a.jpg"}}

    with pytest.raises(NotPossible, match="can't find a picture"):
        pictures_in(message(embeds=[embed]), files)


async def test_the_preview_of_a_link_in_a_spoiler_is_a_spoiler(files: DiscordFiles) -> None:
    url = "https://example.org/a.jpg"
    embed = {
        "type": "image",
        "url": url,
        "thumbnail": {"url": url, "proxy_url": f"{PROXY}/https/example.org/a.jpg"},
    }

    (picture,) = pictures_in(message(embeds=[embed], content=f"look ||{url} ||"), files)

    assert picture.labels.name == "SPOILER_a.jpg"


async def test_a_sticker_that_is_a_picture_is_found(files: DiscordFiles) -> None:
    sticker = {"id": "9", "name": "wave", "format_type": APNG}

    (picture,) = pictures_in(message(sticker_items=[sticker]), files)

    assert (picture.labels.name, picture.url) == ("wave", "https://cdn.discordapp.com/stickers/9.png")


async def test_a_sticker_that_is_a_drawing_is_refused_with_the_reason(files: DiscordFiles) -> None:
    sticker = {"id": "9", "name": "wave", "format_type": LOTTIE}

    with pytest.raises(NotPossible, match="no picture that I could use"):
        pictures_in(message(sticker_items=[sticker]), files)


async def test_pictures_in_components_are_found(files: DiscordFiles) -> None:
    def media(number: int) -> dict[str, Any]:
        return {"url": f"{CDN}/{number}/a.png?ex=1", "proxy_url": f"{CDN}/{number}/a.png?ex=1"}

    gallery = {"type": 12, "id": 2, "items": [{"media": media(1), "description": "a pier", "spoiler": True}]}
    thumbnail = {"type": 11, "id": 5, "media": media(2)}
    section = {"type": 9, "id": 3, "components": [{"type": 10, "id": 4, "content": "hi"}], "accessory": thumbnail}
    container = {"type": 17, "id": 1, "components": [gallery, section]}

    found = pictures_in(message(components=[container], flags=1 << 15), files)

    assert [picture.url for picture in found] == [f"{CDN}/1/a.png?ex=1", f"{CDN}/2/a.png?ex=1"]
    assert [picture.labels.alt_text for picture in found] == ["a pier", None]
    assert names(found) == ["SPOILER_a.png", "a.png"]


async def test_the_same_picture_is_offered_once_and_no_more_than_a_gallery_shows(files: DiscordFiles) -> None:
    given = [attachment(1), *(attachment(number) for number in range(1, 15))]

    found = pictures_in(message(attachments=given), files)

    assert len({picture.url for picture in found}) == len(found) == PICTURES_MAX


async def test_a_hostile_embed_breaks_nothing(files: DiscordFiles) -> None:
    embed = {"type": "rich", "url": "https://[", "image": {"url": "https://[/", "proxy_url": "https://[::::/x"}}

    (picture,) = pictures_in(message(embeds=[embed], attachments=[attachment(1)]), files)

    assert picture.labels.name == "sea.png"


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (f"{CDN}/2/sea.png?ex=1", "expire after a day"),
        ("https://cdn.discordapp.com/emojis/1.png", "no picture behind that link"),
    ],
)
async def test_a_dead_link_is_refused_with_what_to_do(link: str, words: str) -> None:
    async with discord_cdn() as (server, files):
        server.answers(b"This content is no longer available.", 404)
        picture = linked(files, link)
        assert picture is not None

        with pytest.raises(PictureRefused) as refused:
            await picture.read()

        assert words in text_of(refused.value.reason)
        assert "Nothing was charged" in text_of(refused.value.reason)


async def test_an_offer_is_for_its_member_alone_and_ends(files: DiscordFiles) -> None:
    now_s = 0.0
    offered = OfferedPictures(lambda: now_s)
    given = pictures_in(message(attachments=[attachment(1)]), files)
    key = offered.offer(7, given)

    assert offered.find(key, 0, 7) is given[0]
    for found in ((key, 1, 7), (key, -1, 7), (key, 0, 8), ("other", 0, 7)):
        with pytest.raises(NotPossible, match="start again"):
            offered.find(*found)
    now_s = LIFETIME_S
    with pytest.raises(NotPossible, match="start again"):
        offered.find(key, 0, 7)


async def test_only_so_many_offers_are_kept(files: DiscordFiles) -> None:
    offered = OfferedPictures(lambda: 0.0)
    given = pictures_in(message(attachments=[attachment(1)]), files)
    first, second = offered.offer(7, given), offered.offer(7, given)

    for _ in range(OFFERS_MAX - 1):
        offered.offer(8, given)

    with pytest.raises(NotPossible):
        offered.find(first, 0, 7)
    assert offered.find(second, 0, 7) is given[0]
