"""What discord.py lets through when Discord refuses, is ill or can't be reached: its own errors and aiohttp's.

Source: discord.py's `HTTPClient.request` and `Attachment.read`, which catch none of aiohttp's.
"""

import aiohttp
import discord

DISCORD_FAILED = (discord.HTTPException, discord.RateLimited, aiohttp.ClientError, OSError, TimeoutError)

ODD_ANSWERS = (KeyError, TypeError, ValueError, AttributeError, RuntimeError)
"""What discord.py raises over an answer that is none of Discord's, such as a proxy's page, and aiohttp over a
client that was closed under way."""
