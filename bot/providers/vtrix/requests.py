"""The body of a create, as the gateway reads it.

The vendor's page can be read in two ways, and only a real key can tell which one an account takes: inside the
gateway's envelope, or flat. The frame travels as a data URI, so nobody else gets a link to a member's picture.
"""

import base64
import json
from enum import StrEnum
from typing import Any

from bot.domain.jobs import Frame, Order

MODEL = "wan22_i2v_flash"
DURATION_S = 5
"""The only length that the model makes (the vendor's page)."""


class BodyForm(StrEnum):
    """How the model's parameters are wrapped."""

    ENVELOPE = "envelope"
    FLAT = "flat"


def create_body(order: Order, frame: Frame, form: BodyForm) -> bytes:
    """The JSON of a create. What the member did not give is left out; everything else is always said."""
    asked: dict[str, Any] = {"prompt": order.prompt}
    if order.negative_prompt is not None:
        asked["negative_prompt"] = order.negative_prompt
    asked["img_url"] = f"data:{frame.mime};base64,{base64.b64encode(frame.data).decode('ascii')}"
    parameters: dict[str, Any] = {
        "resolution": order.resolution.value,
        "duration": DURATION_S,
        "prompt_extend": order.prompt_extend,
        "watermark": order.watermark,
    }
    if order.seed is not None:
        parameters["seed"] = order.seed
    body: dict[str, Any]
    match form:
        case BodyForm.ENVELOPE:
            body = {"model": MODEL, "input": [{"params": {"input": asked, "parameters": parameters}}]}
        case BodyForm.FLAT:
            body = {"model": MODEL, "input": asked, "parameters": parameters}
    return json.dumps(body).encode("ascii")
