"""The video models behind the bot: one narrow protocol, one module for each gateway."""
