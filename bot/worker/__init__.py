"""Everything that runs in the background: the job loop with its stages, the notifier, retention."""
