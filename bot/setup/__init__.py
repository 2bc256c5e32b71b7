"""Opens parts of the program as the settings say; `bot.app` puts them together."""
