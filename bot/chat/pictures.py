"""The pictures that a video can start from: an attachment, a link, or what a message shows."""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from urllib.parse import unquote

import discord
from yarl import URL

from bot.chat.messages import picture_choice_texts as texts
from bot.chat.messages.reason_texts import Said
from bot.chat.permissions.option_validation import read_picture
from bot.chat.posting import components_within
from bot.domain.errors import FileGone, FileTooLarge, FileUnreachable, NotPossible, PictureRefused
from bot.domain.jobs import PictureLabels
from bot.domain.orders import picture_labels
from bot.media.picture_problems import PictureProblem, UnusablePicture
from bot.providers.discord_files import DiscordFiles, is_uploaded, parse_file_link

PICTURES_MAX = 10
"""How many pictures of one message can be chosen from; as many as a media gallery shows."""

_PICTURE_NAMES = re.compile(
    r"\.(jpe?g|png|apng|webp|gif|heic|heif|avif|jxl|tiff?|bmp|dng|cr2|cr3|nef|arw|orf|rw2|raf)$", re.IGNORECASE
)
_DISPLAYABLE = re.compile(r"\.(jpe?g|png|webp|gif|avif)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that was given or can be chosen.

    url: where it is. read: fetches its bytes, may raise PictureRefused. is_displayable: whether Discord's clients
    can show it.
    """

    labels: PictureLabels
    url: str
    read: Callable[[], Awaitable[bytes]]
    is_displayable: bool = True


def given_picture(files: DiscordFiles, image: discord.Attachment | None, link: str | None) -> Picture:
    """The picture that a command was given, as a file or as a link. Raises: NotPossible."""
    if image is not None and link is not None:
        raise NotPossible(Said(texts.BOTH))
    if image is not None:
        return attached(image)
    if link is None:
        raise NotPossible(Said(texts.NEITHER))
    picture = linked(files, link)
    if picture is None:
        raise NotPossible(Said(texts.NOT_A_LINK))
    return picture


def attached(attachment: discord.Attachment) -> Picture:
    """An attachment."""
    labels = picture_labels(attachment.filename, attachment.description, spoiler=attachment.is_spoiler())
    is_displayable = _DISPLAYABLE.search(attachment.filename) is not None
    return Picture(labels, attachment.url, partial(read_picture, attachment), is_displayable)


def linked(
    files: DiscordFiles, link: str, *, name: str | None = None, alt_text: str | None = None, spoiler: bool = False
) -> Picture | None:
    """A picture on Discord's file servers; None if the link is to anything else. name: None for the link's."""
    url = parse_file_link(link)
    if url is None:
        return None
    labels = picture_labels(name or _last_part(str(url)), alt_text, spoiler=spoiler)
    return Picture(labels, str(url), partial(_read_linked, files, url))


def pictures_in(message: discord.Message, files: DiscordFiles) -> list[Picture]:
    """The pictures that a message shows, or that were forwarded with it; each once.

    Raises: NotPossible if there are none.
    """
    found: dict[str, Picture] = {}
    parts: list[discord.Message | discord.MessageSnapshot] = [message, *message.message_snapshots]
    for part in parts:
        for picture in _shown_in(part, files):
            found.setdefault(picture.url.partition("?")[0], picture)
    if not found:
        has_vectors = any(_is_vector(sticker) for part in parts for sticker in part.stickers)
        raise NotPossible(Said(texts.VECTOR_STICKER if has_vectors else texts.NO_PICTURE))
    return list(found.values())[:PICTURES_MAX]


def _shown_in(part: discord.Message | discord.MessageSnapshot, files: DiscordFiles) -> Iterator[Picture]:
    yield from (attached(attachment) for attachment in part.attachments if _is_picture(attachment))
    for embed in part.embeds:
        for proxy in (embed.image, embed.thumbnail):
            link, alt_text = proxy.proxy_url or proxy.url, getattr(proxy, "description", None)
            name, spoiler = embed.title or _last_part(proxy.url), _is_hidden(embed.url, part.content)
            if link and (picture := linked(files, link, name=name, alt_text=alt_text, spoiler=spoiler)):
                yield picture
    for sticker in part.stickers:
        if not _is_vector(sticker):
            picture = linked(files, sticker.url, name=sticker.name)
            if picture is not None:
                yield picture
    # discord.py leaves the attribute out where Discord sent no components.
    for media, alt_text, spoiler in _media_in(getattr(part, "components", ())):
        picture = linked(files, media.proxy_url or media.url, alt_text=alt_text, spoiler=spoiler)
        if picture is not None and (media.content_type or "image/").startswith("image/"):
            yield picture


def _media_in(
    components: Iterable[object],
) -> Iterator[tuple[discord.components.UnfurledMediaItem, str | None, bool]]:
    for component in components_within(components):
        items = [*getattr(component, "items", ()), getattr(component, "accessory", None)]
        for item in items:
            media = getattr(item, "media", None)
            if isinstance(media, discord.components.UnfurledMediaItem):
                yield media, item.description, item.spoiler


def _is_vector(sticker: discord.StickerItem) -> bool:
    """Whether the sticker is drawn by Discord's clients, so that it isn't a picture."""
    return sticker.format is discord.StickerFormatType.lottie


def _is_picture(attachment: discord.Attachment) -> bool:
    kind = attachment.content_type or ""
    is_image = kind.startswith("image/") and not kind.startswith("image/svg")
    return is_image or _PICTURE_NAMES.search(attachment.filename) is not None


def _last_part(url: str | None) -> str:
    return unquote((url or "").partition("?")[0].rpartition("/")[2])


def _is_hidden(url: str | None, content: str) -> bool:
    """Whether the message's text has the link in a spoiler."""
    return url is not None and any(url in hidden for hidden in re.findall(r"\|\|(.+?)\|\|", content, re.DOTALL))


async def _read_linked(files: DiscordFiles, url: URL) -> bytes:
    """The file behind the link. Raises: PictureRefused."""
    try:
        return await files.read(url)
    except FileGone as error:
        problem = PictureProblem.LINK_EXPIRED if is_uploaded(url) else PictureProblem.LINK_DEAD
        raise PictureRefused(UnusablePicture(problem)) from error
    except FileTooLarge as error:
        reason = UnusablePicture(PictureProblem.FILE_TOO_LARGE, size_bytes=error.size_bytes)
        raise PictureRefused(reason) from error
    except FileUnreachable as error:
        raise PictureRefused(UnusablePicture(PictureProblem.NOT_FETCHED)) from error
