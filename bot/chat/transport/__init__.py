"""The connection to Discord: client, gateway connection, throttling, posting and finding messages."""
