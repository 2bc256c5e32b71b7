"""The Vtrix gateway: its requests, its responses, its client."""
