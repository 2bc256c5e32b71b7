"""Who may do what in Discord, how often, and with which options."""
