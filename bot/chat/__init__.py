"""The Discord side of the bot: the client, delivery, views, permissions and texts.

Nothing outside this package and `cogs` knows about Discord.
"""

from bot.chat.messages import failure_texts, limit_texts, picture_texts, policy_refusal_texts, request_texts

__all__ = ["failure_texts", "limit_texts", "picture_texts", "policy_refusal_texts", "request_texts"]
# Imported here so that every reason has its words registered, whatever of this package is imported first.
