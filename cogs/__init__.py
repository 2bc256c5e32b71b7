"""The slash commands, loaded by name. Thin: parse, one call to the service, render."""
