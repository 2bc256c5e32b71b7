"""What lets one see the whole bot without a token or a key: a local upstream, and an offline Discord page."""
