"""JSON from a gateway, whatever it is, is read or refused, and nothing else happens."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.providers.json_responses import InvalidResponse, json_object, storable_object
from tests.providers.json_values import JSON_OBJECTS

KEY = "a-secret-key"


@pytest.mark.parametrize("number", ["1e99999999999999999999", "1.5e-99999999999999999999"])
def test_a_number_beyond_every_range_costs_the_number_only(number: str) -> None:
    assert json_object(b'{"id": "t-1", "cost": %b}' % number.encode()) == {"id": "t-1", "cost": None}


@given(JSON_OBJECTS)
def test_any_object_can_be_stored(response: dict[str, Any]) -> None:
    read = json_object(json.dumps(response).encode())
    stored = json.dumps(storable_object(read, secret=KEY), allow_nan=False, ensure_ascii=False)
    assert "\\u0000" not in stored
    assert KEY not in stored
    stored.encode("utf-8")


@given(st.binary())
def test_any_bytes_are_an_object_or_invalid(body: bytes) -> None:
    with contextlib.suppress(InvalidResponse):
        assert isinstance(json_object(body), dict)
