"""What the local gateway takes for a create: both body forms, and the vendor's limits on each field.

As strict as the vendor's page, so that what passes here has a good chance of passing there.
"""

import base64
import binascii
import io
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image, UnidentifiedImageError

from bot.domain.jobs import Resolution

MODEL = "wan22_i2v_flash"
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
_SIDES_PX = range(360, 2001)
_PICTURE_BYTES = 10_000_000
_SEEDS = range(2**31)


class BadCreate(ValueError):
    """The gateway answers 400 with this text."""


@dataclass(frozen=True, slots=True)
class Create:
    """A create that the gateway takes. `picture`: the file's bytes, checked."""

    prompt: str
    picture: bytes
    resolution: Resolution
    seed: int


def read_create(body: object) -> Create:
    """Reads and checks a create's JSON. Raises: BadCreate."""
    if not isinstance(body, dict) or body.get("model") != MODEL:
        raise BadCreate(f"model must be {MODEL}")
    match body:
        case {"input": [{"params": {"input": dict(asked), **params}}]}:
            parameters = params.get("parameters", {})
        case {"input": dict(asked)}:
            parameters = body.get("parameters", {})
        case _:
            raise BadCreate("input must be an object, or a list of one object with params")
    if not isinstance(parameters, dict):
        raise BadCreate("parameters must be an object")
    prompt = asked.get("prompt", "")
    if not isinstance(prompt, str) or not isinstance(asked.get("negative_prompt", ""), str):
        raise BadCreate("prompt and negative_prompt must be text")
    return Create(
        prompt=prompt,
        picture=_picture(asked.get("img_url")),
        resolution=_resolution(parameters),
        seed=_seed(parameters),
    )


def _resolution(parameters: Mapping[str, Any]) -> Resolution:
    if parameters.get("duration", 5) != 5:  # noqa: PLR2004  the only one there is
        raise BadCreate("duration must be 5")
    for name in ("prompt_extend", "watermark"):
        if not isinstance(parameters.get(name, True), bool):
            raise BadCreate(f"{name} must be true or false")
    try:
        return Resolution(parameters.get("resolution", Resolution.P720))
    except ValueError as exc:
        raise BadCreate("resolution must be 480P or 720P") from exc


def _seed(parameters: Mapping[str, Any]) -> int:
    if "seed" not in parameters:
        return random.randrange(_SEEDS.stop)  # noqa: S311  a camera's way is no secret
    seed = parameters["seed"]
    if isinstance(seed, bool) or not isinstance(seed, int) or seed not in _SEEDS:
        raise BadCreate("seed must be a whole number from 0 to 2147483647")
    return seed


def _picture(img_url: object) -> bytes:
    if not isinstance(img_url, str) or not img_url.startswith("data:image/"):
        raise BadCreate("img_url must be a data URI of a picture: this gateway fetches nothing")
    declared, comma, encoded = img_url.removeprefix("data:").partition(";base64,")
    if not comma:
        raise BadCreate("img_url must be base64")
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error as exc:
        raise BadCreate("img_url is not proper base64") from exc
    if len(data) > _PICTURE_BYTES:
        raise BadCreate("the picture is larger than 10 MB")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            _check_picture(picture, declared)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as exc:
        raise BadCreate("the picture can't be read as JPEG, PNG, BMP or WEBP") from exc
    return data


def _check_picture(picture: Image.Image, declared: str) -> None:
    mime = Image.MIME[picture.format or "JPEG"]
    if declared.replace("jpg", "jpeg") != mime:
        raise BadCreate(f"the picture is declared as {declared} but is {mime}")
    if picture.width not in _SIDES_PX or picture.height not in _SIDES_PX:
        raise BadCreate(f"both sides must be 360 to 2000 pixels, not {picture.width}×{picture.height}")
    if picture.format == "PNG" and picture.has_transparency_data:
        raise BadCreate("a PNG must have no alpha channel")
    picture.load()
