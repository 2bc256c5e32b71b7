"""The request body of a create.

The vendor's documentation can be read in two ways, wrapped in the gateway's envelope or flat, and only a real key
can tell which one an account takes. The frame is sent as a data URI, so no link to a member's picture exists.
"""

import base64
import json
from enum import StrEnum
from typing import Any

from bot.domain.jobs import Frame, Order

MODEL = "wan22_i2v_flash"
DURATION_S = 5
"""The only duration the model supports (vendor's documentation of the model)."""


class BodyForm(StrEnum):
    """How the model's parameters are wrapped."""

    ENVELOPE = "envelope"
    FLAT = "flat"


def create_body(order: Order, frame: Frame, form: BodyForm) -> bytes:
    """The JSON body of a create. Omits what the member did not give; everything else is always sent."""
    model_input: dict[str, Any] = {"prompt": order.prompt}
    if order.negative_prompt is not None:
        model_input["negative_prompt"] = order.negative_prompt
    model_input["img_url"] = f"data:{frame.mime};base64,{base64.b64encode(frame.data).decode('ascii')}"
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
            body = {"model": MODEL, "input": [{"params": {"input": model_input, "parameters": parameters}}]}
        case BodyForm.FLAT:
            body = {"model": MODEL, "input": model_input, "parameters": parameters}
    return json.dumps(body).encode("ascii")
