"""The request body of a create. The frame is sent as a data URI, so no link to a member's picture exists."""

import base64
import json
from typing import Any

from bot.domain.jobs import Frame, Order


def create_body(order: Order, frame: Frame, *, model: str, with_duration: bool) -> bytes:
    """The JSON body of a create. Omits what the member did not give; everything else is always sent.

    model: as DashScope calls it. with_duration: whether the model takes a duration; `wan2.2-i2v-flash` has none in
    its documentation (Alibaba Model Studio, read 2026-11-28), as it only makes videos of 5 seconds.
    """
    model_input: dict[str, Any] = {"prompt": order.prompt}
    if order.negative_prompt is not None:
        model_input["negative_prompt"] = order.negative_prompt
    model_input["img_url"] = f"data:{frame.mime};base64,{base64.b64encode(frame.data).decode('ascii')}"
    parameters: dict[str, Any] = {"resolution": order.resolution.value}
    if with_duration:
        parameters["duration"] = order.duration_s
    parameters |= {"prompt_extend": order.prompt_extend, "watermark": order.watermark}
    if order.seed is not None:
        parameters["seed"] = order.seed
    return json.dumps({"model": model, "input": model_input, "parameters": parameters}).encode("ascii")
