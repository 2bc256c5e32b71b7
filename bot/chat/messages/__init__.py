"""All words for people: every message, refusal and embed is rendered here."""
