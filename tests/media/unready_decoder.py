"""A decoder that can't start: `python -m tests.media.unready_decoder PARENT_PID`."""

import sys

sys.exit("no such library")
