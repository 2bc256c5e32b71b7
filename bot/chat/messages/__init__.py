"""All words for people: every message, refusal and embed is rendered here."""

from bot.chat.messages import (
    admin_texts,
    extension_texts,
    job_overview_texts,
    operator_texts,
    picture_texts,
    refusal_texts,
)

# Every reason has its words registered, whichever module of this package is imported first.
__all__ = [
    "admin_texts",
    "extension_texts",
    "job_overview_texts",
    "operator_texts",
    "picture_texts",
    "refusal_texts",
]
