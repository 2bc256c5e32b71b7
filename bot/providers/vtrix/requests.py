"""The request body of a create.

The vendor's documentation can be read in two ways, wrapped in the gateway's envelope or flat, its queue takes the
bare parameters, and only a real key can tell what an account takes. The frame is sent as a data URI, so no link to
a member's picture exists.
"""

import base64
import json
from enum import StrEnum
from typing import Any

from bot.domain.jobs import Frame, Order


class BodyForm(StrEnum):
    """How the model's parameters are wrapped. AUTO: in the first of the others that the gateway accepts."""

    AUTO = "auto"
    ENVELOPE = "envelope"
    FLAT = "flat"
    QUEUE = "queue"

    @property
    def tried(self) -> tuple["BodyForm", ...]:
        """The forms to try, in this order."""
        return (BodyForm.ENVELOPE, BodyForm.FLAT, BodyForm.QUEUE) if self is BodyForm.AUTO else (self,)


def create_body(order: Order, frame: Frame, form: BodyForm, *, model: str) -> bytes:
    """The JSON body of a create. Omits what the member did not give; everything else is always sent.

    form: any but AUTO. model: as the gateway calls it; the queue has it in its address instead.
    """
    model_input: dict[str, Any] = {"prompt": order.prompt}
    if order.negative_prompt is not None:
        model_input["negative_prompt"] = order.negative_prompt
    model_input["img_url"] = f"data:{frame.mime};base64,{base64.b64encode(frame.data).decode('ascii')}"
    parameters: dict[str, Any] = {
        "resolution": order.resolution.value,
        "duration": order.duration_s,
        "prompt_extend": order.prompt_extend,
        "watermark": order.watermark,
    }
    if order.seed is not None:
        parameters["seed"] = order.seed
    body: dict[str, Any]
    match form:
        case BodyForm.FLAT:
            body = {"model": model, "input": model_input, "parameters": parameters}
        case BodyForm.QUEUE:
            body = {**model_input, **parameters}
        case _:
            body = {"model": model, "input": [{"params": {"input": model_input, "parameters": parameters}}]}
    return json.dumps(body).encode("ascii")
