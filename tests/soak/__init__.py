"""The soak test: the whole bot in its own process, for minutes or hours, under churning jobs and faults."""
