"""Everything that runs without being asked: the job loop, its stages, the notifier, retention."""
