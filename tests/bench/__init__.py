"""Benchmarks: what the bot costs, as a ratio to a plain baseline measured in the same run. They are no tests."""
