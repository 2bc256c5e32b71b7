"""What the process needs to run well on its host: logs, redaction, a steady clock, hardening, temporary files."""
