import json

import pytest

from bot.domain.jobs import Frame, Order, Resolution
from bot.providers.vtrix.requests import BodyForm, create_body

FRAME = Frame(data=b"abc", mime="image/png")
PLAIN = Order(prompt="a fox")
FULL = Order(
    prompt="狐 “wakes”\n",
    negative_prompt="rain",
    resolution=Resolution.P480,
    seed=0,
    prompt_extend=False,
    watermark=True,
)

PLAIN_INPUT = {"prompt": "a fox", "img_url": "data:image/png;base64,YWJj"}
PLAIN_PARAMETERS = {"resolution": "720P", "duration": 5, "prompt_extend": True, "watermark": False}
FULL_INPUT = {"prompt": "狐 “wakes”\n", "negative_prompt": "rain", "img_url": "data:image/png;base64,YWJj"}
FULL_PARAMETERS = {"resolution": "480P", "duration": 5, "prompt_extend": False, "watermark": True, "seed": 0}


@pytest.mark.parametrize(
    ("order", "asked", "parameters"),
    [(PLAIN, PLAIN_INPUT, PLAIN_PARAMETERS), (FULL, FULL_INPUT, FULL_PARAMETERS)],
    ids=["required only", "everything"],
)
def test_the_envelope_body_wraps_input_and_parameters(
    order: Order, asked: dict[str, object], parameters: dict[str, object]
) -> None:
    assert json.loads(create_body(order, FRAME, BodyForm.ENVELOPE, model="wan22_i2v_flash")) == {
        "model": "wan22_i2v_flash",
        "input": [{"params": {"input": asked, "parameters": parameters}}],
    }


@pytest.mark.parametrize(
    ("order", "asked", "parameters"),
    [(PLAIN, PLAIN_INPUT, PLAIN_PARAMETERS), (FULL, FULL_INPUT, FULL_PARAMETERS)],
    ids=["required only", "everything"],
)
def test_the_flat_body_has_the_same_input_and_parameters(
    order: Order, asked: dict[str, object], parameters: dict[str, object]
) -> None:
    assert json.loads(create_body(order, FRAME, BodyForm.FLAT, model="wan22_i2v_flash")) == {
        "model": "wan22_i2v_flash",
        "input": asked,
        "parameters": parameters,
    }


@pytest.mark.parametrize(
    ("order", "asked", "parameters"),
    [(PLAIN, PLAIN_INPUT, PLAIN_PARAMETERS), (FULL, FULL_INPUT, FULL_PARAMETERS)],
    ids=["required only", "everything"],
)
def test_the_queue_takes_the_bare_parameters(
    order: Order, asked: dict[str, object], parameters: dict[str, object]
) -> None:
    assert json.loads(create_body(order, FRAME, BodyForm.QUEUE, model="other")) == {**asked, **parameters}


@pytest.mark.parametrize("form", BodyForm.AUTO.tried)
def test_the_duration_is_that_of_the_order(form: BodyForm) -> None:
    body = create_body(Order(prompt="a fox", duration_s=10), FRAME, form, model="wan22_i2v_flash")
    assert b'"duration": 10' in body


@pytest.mark.parametrize("form", [BodyForm.ENVELOPE, BodyForm.FLAT])
def test_the_model_is_called_as_the_gateway_calls_it(form: BodyForm) -> None:
    assert json.loads(create_body(PLAIN, FRAME, form, model="another"))["model"] == "another"
