"""A decoder that can't start: `python -m tests.unready_decoder PARENT`."""

import sys

sys.exit("no such library")
