"""The Discord side of the bot: the client, delivery, views, permissions and texts.

Nothing outside this package and `cogs` knows about Discord.
"""
