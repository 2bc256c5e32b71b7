"""A decoder whose server ends after a second without a picture.

`python -m tests.media.impatient_decoder PARENT_PID`
"""

import sys

from bot.media.decode_protocol import LIMITS, READY
from bot.media.decode_server import Work, serve
from bot.media.decode_worker import MAX_REQUEST_BYTES, respond

if __name__ == "__main__":
    serve(Work(respond, LIMITS, READY, MAX_REQUEST_BYTES), int(sys.argv[1]), idle_s=1)
