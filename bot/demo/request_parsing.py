"""Parses a create request to the local gateway: both body forms, with the vendor's limits on each field.

As strict as the vendor's documentation, so that a request accepted here is likely to be accepted there.
"""

import base64
import binascii
import io
import random
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from PIL import Image, UnidentifiedImageError
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from bot.domain.jobs import Resolution
from bot.domain.models import WAN22_FLASH

MODEL = "wan22_i2v_flash"
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
_SIDES_PX = range(360, 2001)
_PICTURE_BYTES = 10_000_000
_SEEDS = 2**31


class InvalidRequest(ValueError):
    """The gateway answers 400 with this text."""


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A valid create request. `picture`: the bytes of the checked image file."""

    prompt: str
    picture: bytes
    resolution: Resolution
    seed: int


def _of_the_model(resolution: Resolution) -> Resolution:
    if resolution not in WAN22_FLASH.resolutions:
        raise ValueError(f"{MODEL} makes no {resolution}")
    return resolution


class _Input(BaseModel, strict=True):
    prompt: str = ""
    negative_prompt: str = ""
    img_url: str


class _Parameters(BaseModel, strict=True):
    resolution: Annotated[Resolution, AfterValidator(_of_the_model)] = Field(Resolution.P720, strict=False)
    duration: Literal[5] = 5
    prompt_extend: bool = True
    watermark: bool = True
    seed: int = Field(default_factory=partial(random.randrange, _SEEDS), ge=0, lt=_SEEDS)


class _Flat(BaseModel):
    input: _Input
    parameters: _Parameters = Field(default_factory=_Parameters)


def parse_create(body: object) -> CreateRequest:
    """Parses and checks the JSON of a create request. Raises: InvalidRequest."""
    if not isinstance(body, dict) or body.get("model") != MODEL:
        raise InvalidRequest(f"model must be {MODEL}")
    match body.get("input"):
        case [{"params": flat}]:
            pass
        case _:
            flat = body
    try:
        given = _Flat.model_validate(flat)
    except ValidationError as exc:
        problems = (f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
        raise InvalidRequest("; ".join(problems)) from exc
    parameters = given.parameters
    return CreateRequest(given.input.prompt, _picture(given.input.img_url), parameters.resolution, parameters.seed)


def _picture(img_url: str) -> bytes:
    if not img_url.startswith("data:image/"):
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
