"""The operator's page: what the bot is doing, as HTML. It shows and changes nothing; behind a token."""
