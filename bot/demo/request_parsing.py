"""Parses a create request to the local gateway: both body forms, with the vendor's limits on each field.

As strict as the vendor's documentation, so that a request accepted here is likely to be accepted there.
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


class InvalidRequest(ValueError):
    """The gateway answers 400 with this text."""


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A valid create request. `picture`: the bytes of the checked image file."""

    prompt: str
    picture: bytes
    resolution: Resolution
    seed: int


def parse_create(body: object) -> CreateRequest:
    """Parses and checks the JSON of a create request. Raises: InvalidRequest."""
    if not isinstance(body, dict) or body.get("model") != MODEL:
        raise InvalidRequest(f"model must be {MODEL}")
    match body:
        case {"input": [{"params": {"input": dict(fields), **params}}]}:
            parameters = params.get("parameters", {})
        case {"input": dict(fields)}:
            parameters = body.get("parameters", {})
        case _:
            raise InvalidRequest("input must be an object, or a list of one object with params")
    if not isinstance(parameters, dict):
        raise InvalidRequest("parameters must be an object")
    prompt = fields.get("prompt", "")
    if not isinstance(prompt, str) or not isinstance(fields.get("negative_prompt", ""), str):
        raise InvalidRequest("prompt and negative_prompt must be text")
    return CreateRequest(
        prompt=prompt,
        picture=_picture(fields.get("img_url")),
        resolution=_resolution(parameters),
        seed=_seed(parameters),
    )


def _resolution(parameters: Mapping[str, Any]) -> Resolution:
    if parameters.get("duration", 5) != 5:  # noqa: PLR2004 - the only one there is
        raise InvalidRequest("duration must be 5")
    for name in ("prompt_extend", "watermark"):
        if not isinstance(parameters.get(name, True), bool):
            raise InvalidRequest(f"{name} must be true or false")
    try:
        return Resolution(parameters.get("resolution", Resolution.P720))
    except ValueError as exc:
        raise InvalidRequest("resolution must be 480P or 720P") from exc


def _seed(parameters: Mapping[str, Any]) -> int:
    if "seed" not in parameters:
        return random.randrange(_SEEDS.stop)  # noqa: S311 - not for security
    seed = parameters["seed"]
    if isinstance(seed, bool) or not isinstance(seed, int) or seed not in _SEEDS:
        raise InvalidRequest("seed must be a whole number from 0 to 2147483647")
    return seed


def _picture(img_url: object) -> bytes:
    if not isinstance(img_url, str) or not img_url.startswith("data:image/"):
        raise InvalidRequest("img_url must be a data URI of a picture: this gateway fetches nothing")
    declared, comma, encoded = img_url.removeprefix("data:").partition(";base64,")
    if not comma:
        raise InvalidRequest("img_url must be base64")
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error as exc:
        raise InvalidRequest("img_url is not valid base64") from exc
    if len(data) > _PICTURE_BYTES:
        raise InvalidRequest("the picture is larger than 10 MB")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            _check_picture(picture, declared)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as exc:
        raise InvalidRequest("the picture can't be read as JPEG, PNG, BMP or WEBP") from exc
    return data


def _check_picture(picture: Image.Image, declared: str) -> None:
    mime = Image.MIME[picture.format or "JPEG"]
    if declared.replace("jpg", "jpeg") != mime:
        raise InvalidRequest(f"the picture is declared as {declared} but is {mime}")
    if picture.width not in _SIDES_PX or picture.height not in _SIDES_PX:
        raise InvalidRequest(f"both sides must be 360 to 2000 pixels, not {picture.width}×{picture.height}")
    if picture.format == "PNG" and picture.has_transparency_data:
        raise InvalidRequest("a PNG must have no alpha channel")
    picture.load()
