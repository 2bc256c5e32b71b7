"""The request body of a create.

The vendor's documentation can be read in two ways, wrapped in the gateway's envelope or flat, its queue takes the
bare parameters, and only a real key can tell what an account takes.
"""

import json
from enum import StrEnum
from typing import Any

from bot.domain.jobs import Frame, Order
from bot.providers.task_input import model_input, model_parameters


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
    """The JSON body of a create.

    form: any but AUTO. model: as the gateway calls it; the queue has it in its address instead.
    """
    given, parameters = model_input(order, frame), model_parameters(order)
    body: dict[str, Any]
    match form:
        case BodyForm.FLAT:
            body = {"model": model, "input": given, "parameters": parameters}
        case BodyForm.QUEUE:
            body = {**given, **parameters}
        case _:
            body = {"model": model, "input": [{"params": {"input": given, "parameters": parameters}}]}
    return json.dumps(body).encode("ascii")
