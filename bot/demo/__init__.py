"""The whole bot without a token or a key: a local upstream, and an offline Discord with a page for the browser."""
