"""The request body of a create."""

import json

from bot.domain.jobs import Frame, Order
from bot.providers.task_input import model_input, model_parameters


def create_body(order: Order, frame: Frame, *, model: str, with_duration: bool) -> bytes:
    """The JSON body of a create.

    model: as DashScope calls it. with_duration: whether the model takes a duration; `wan2.2-i2v-flash` has none in
    its documentation (Alibaba Model Studio, read 2026-11-28), as it only makes videos of 5 seconds.
    """
    parameters = model_parameters(order, with_duration=with_duration)
    body = {"model": model, "input": model_input(order, frame), "parameters": parameters}
    return json.dumps(body).encode("ascii")
