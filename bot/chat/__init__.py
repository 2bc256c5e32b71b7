"""The Discord side of the bot: the client, delivery, views, permissions and texts.

Nothing outside this package and `cogs` knows about Discord.
"""

# Imported so that every kind of reason has its text registered, whichever module of this package comes first.
from bot.chat.messages import (
    admin_texts,
    failure_texts,
    job_overview_texts,
    limit_texts,
    operator_texts,
    picture_texts,
    policy_refusal_texts,
    policy_texts,
    request_texts,
)

__all__ = [
    "admin_texts",
    "failure_texts",
    "job_overview_texts",
    "limit_texts",
    "operator_texts",
    "picture_texts",
    "policy_refusal_texts",
    "policy_texts",
    "request_texts",
]
