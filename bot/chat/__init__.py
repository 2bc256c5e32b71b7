"""The Discord side of the machine: the client, delivery, rendering, checks and texts.

Outside of this package and `cogs`, nothing knows that there is a Discord.
"""
