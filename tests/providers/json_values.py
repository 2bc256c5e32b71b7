"""JSON of every kind, for property tests of what reads a gateway's answers."""

from typing import Any

from hypothesis import strategies as st

_KEYS = st.one_of(
    st.sampled_from(
        ["id", "status", "output", "task_id", "task_status", "video_url", "usage", "code", "message", "error"]
    ),
    st.text(max_size=5),
)
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),
    st.sampled_from(["SUCCEEDED", "FAILED", "CANCELED", "PENDING", "sNaN", "1e999999999999", "\ud800", "\0"]),
)
JSON_VALUES = st.recursive(
    _VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12
)
JSON_OBJECTS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(_KEYS, JSON_VALUES, max_size=6)
