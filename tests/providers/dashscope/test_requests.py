"""The body of a create."""

import json

import pytest

from bot.domain.jobs import Frame, Order, Resolution
from bot.providers.dashscope.requests import create_body

FRAME = Frame(data=b"\xff\xd8 a picture", mime="image/jpeg")


def body(order: Order, *, with_duration: bool = False) -> dict[str, object]:
    parsed: dict[str, object] = json.loads(
        create_body(order, FRAME, model="wan2.2-i2v-flash", with_duration=with_duration)
    )
    return parsed


def test_what_was_not_given_is_left_out() -> None:
    assert body(Order(prompt="a fox wakes up")) == {
        "model": "wan2.2-i2v-flash",
        "input": {"prompt": "a fox wakes up", "img_url": "data:image/jpeg;base64,/9ggYSBwaWN0dXJl"},
        "parameters": {"resolution": "720P", "prompt_extend": True, "watermark": False},
    }


def test_what_was_given_is_sent() -> None:
    order = Order("狐狸", "blur", Resolution.P480, seed=0, prompt_extend=False, watermark=True)
    sent = body(order)
    assert sent["input"] == {
        "prompt": "狐狸",
        "negative_prompt": "blur",
        "img_url": "data:image/jpeg;base64,/9ggYSBwaWN0dXJl",
    }
    assert sent["parameters"] == {"resolution": "480P", "prompt_extend": False, "watermark": True, "seed": 0}


@pytest.mark.parametrize("with_duration", [True, False])
def test_a_duration_is_sent_to_models_that_take_one(*, with_duration: bool) -> None:
    parameters = body(Order(prompt="a fox", duration_s=10), with_duration=with_duration)["parameters"]
    assert isinstance(parameters, dict)
    assert parameters.get("duration") == (10 if with_duration else None)
