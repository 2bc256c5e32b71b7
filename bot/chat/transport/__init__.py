"""The connection to Discord: clients, the gateway, throttling, and the messages that the worker posts."""
