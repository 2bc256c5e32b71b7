"""What the model is given: its input and its parameters, which gateways take in bodies of their own. Pure.

The frame is sent as a data URI, so no link to a member's picture exists.
"""

import base64
from typing import Any

from bot.domain.jobs import Frame, Order


def model_input(order: Order, frame: Frame) -> dict[str, Any]:
    """The texts and the picture. Omits what the member did not give."""
    given: dict[str, Any] = {"prompt": order.prompt}
    if order.negative_prompt is not None:
        given["negative_prompt"] = order.negative_prompt
    given["img_url"] = f"data:{frame.mime};base64,{base64.b64encode(frame.data).decode('ascii')}"
    return given


def model_parameters(order: Order, *, with_duration: bool = True) -> dict[str, Any]:
    """The options. Omits a seed that the member did not give; everything else is always sent.

    with_duration: whether the model takes a duration there.
    """
    parameters: dict[str, Any] = {"resolution": order.resolution.value}
    if with_duration:
        parameters["duration"] = order.duration_s
    parameters |= {"prompt_extend": order.prompt_extend, "watermark": order.watermark}
    if order.seed is not None:
        parameters["seed"] = order.seed
    return parameters
