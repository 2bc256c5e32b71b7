"""The video models behind the bot: one narrow protocol, one package for each gateway."""
