"""The slash commands, loaded by name. Each parses, calls a service once and renders."""
