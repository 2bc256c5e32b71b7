"""Validates what a member typed and turns it into an order. Pure.

The upstream silently truncates texts that are too long (source: the model's page), so they are refused here.
Lengths are in code points of the NFC text.
"""

import unicodedata
from dataclasses import dataclass

from bot.domain.errors import OrderRefused, Problem, Reason
from bot.domain.jobs import SPOILER, Order, PictureLabels, Resolution
from bot.domain.models import WAN22_FLASH, Catalog, Model, title_of

SEED_MAX = 2_147_483_647
PICTURE_NAME_MAX = 260
ALT_TEXT_MAX = 1024
"""Discord's own limits for a file's name and description (its documentation of the attachment object)."""

_UNSEEN = {"Cf", "Mn", "Me", "Zs"}
"""Categories of characters that are invisible on their own."""


@dataclass(frozen=True, slots=True)
class TextTooLong(Reason):
    """An option's text is longer than the model reads. option: as the command names it."""

    option: str
    length: int
    maximum: int


@dataclass(frozen=True, slots=True)
class ModelNotOffered(Reason):
    """The bot doesn't offer the model, or no longer. title: what it is called. offered: what others are."""

    title: str
    offered: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ResolutionNotMade(Reason):
    """The model doesn't make videos of this resolution. title: the model's. possible: those that it makes."""

    title: str
    possible: tuple[Resolution, ...]


@dataclass(frozen=True, slots=True)
class DurationNotMade(Reason):
    """The model doesn't make videos that long. title: the model's. possible: how long they may be, in seconds."""

    title: str
    possible: tuple[int, ...]


def model_of(catalog: Catalog, name: str) -> Model:
    """The model of this name. Raises: OrderRefused if the bot doesn't offer it."""
    if (model := catalog.model(name)) is not None:
        return model
    offered = tuple(one.title for one in catalog.models)
    raise OrderRefused(ModelNotOffered(title_of(name), offered))


def clean_text(text: str) -> str:
    """The text in NFC, on one line, without control characters, lone surrogates and repeated white space.

    Empty if it has no visible character.
    """
    kept = "".join(
        " " if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} else char
        for char in unicodedata.normalize("NFC", text)
    )
    if all(unicodedata.category(char) in _UNSEEN for char in kept):
        return ""
    return " ".join(kept.split())


def check_order(
    *,
    prompt: str,
    negative_prompt: str | None = None,
    resolution: str | None = None,
    seed: int | None = None,
    prompt_extend: bool = True,
    watermark: bool = False,
    model: Model = WAN22_FLASH,
    duration_s: int | None = None,
) -> Order:
    """An order from what a member typed.

    resolution: None for the model's best. duration_s: in seconds; None for the model's default.
    Raises: OrderRefused.
    """
    cleaned = clean_text(prompt)
    if not cleaned:
        raise OrderRefused(Problem.PROMPT_EMPTY)
    _refuse_longer("prompt", cleaned, model.prompt_max)
    unwanted = clean_text(negative_prompt or "") or None
    if unwanted is not None:
        _refuse_longer("negative_prompt", unwanted, model.negative_prompt_max)
    if resolution is None:
        resolution = model.resolutions[-1]
    if resolution not in model.resolutions:
        raise OrderRefused(ResolutionNotMade(model.title, model.resolutions))
    if duration_s is None:
        duration_s = model.durations_s[0]
    if duration_s not in model.durations_s:
        raise OrderRefused(DurationNotMade(model.title, model.durations_s))
    if seed is not None and not 0 <= seed <= SEED_MAX:
        raise OrderRefused(Problem.SEED_OUT_OF_RANGE)
    return Order(
        prompt=cleaned,
        negative_prompt=unwanted,
        resolution=Resolution(resolution),
        seed=seed,
        prompt_extend=prompt_extend,
        watermark=watermark,
        model=model.name,
        duration_s=duration_s,
    )


def picture_labels(name: str, alt_text: str | None, *, spoiler: bool) -> PictureLabels:
    """What a picture is called, cleaned and cut. spoiler: whether it is one, whatever its name."""
    cleaned = clean_text(name)
    if spoiler and not cleaned.startswith(SPOILER):
        cleaned = SPOILER + cleaned
    return PictureLabels(cleaned[:PICTURE_NAME_MAX] or None, clean_text(alt_text or "")[:ALT_TEXT_MAX] or None)


def _refuse_longer(option: str, text: str, maximum: int) -> None:
    if len(text) > maximum:
        raise OrderRefused(TextTooLong(option, len(text), maximum))
