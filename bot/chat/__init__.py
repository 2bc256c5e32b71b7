"""The Discord side of the machine: the client, delivery, rendering, checks and texts.

Outside of this package and `cogs`, nothing knows that there is a Discord.
"""

from bot.chat.messages import failure_texts, limit_texts, picture_texts, policy_refusal_texts, request_texts

__all__ = ["failure_texts", "limit_texts", "picture_texts", "policy_refusal_texts", "request_texts"]
# Imported here so that every reason has its words registered, whatever of this package is imported first.
