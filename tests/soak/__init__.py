"""The soak test: the whole bot in its own process, for minutes or hours, under constant load and faults."""
