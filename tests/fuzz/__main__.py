"""Tries broken pictures under a decoder's limits: `python -m tests.fuzz PARENT SEED START STOP`.

A line is said before each (its number) and after it (its verdict), so that whoever reads knows which one took the
process down.
"""

import logging
import signal
import sys
import warnings
from dataclasses import replace

from bot.chat.messages.reason_texts import text_of_error
from bot.domain.errors import PictureRefused
from bot.media.decode_worker import LIMITS
from bot.media.first_frame import prepare_first_frame
from bot.media.sandbox import confine
from tests.fuzz.mutations import mutant, samples
from tests.fuzz.oracle import flaw


def verdict(data: bytes) -> str:
    """`frame`, `refused`, or what is wrong."""
    try:
        return flaw(prepare_first_frame(data)) or "frame"
    except PictureRefused as refused:
        said = text_of_error(refused)
        return "refused" if "please" in said.lower() else f"a refusal that says not what to do: {said}"
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        return f"an error: {error!r}"


def main(parent: str, seed: str, start: str, stop: str) -> None:
    """Tries the mutants `start` up to `stop`."""
    logging.disable()
    warnings.simplefilter("ignore")
    files = samples()
    verdict(files[0])  # the second reader loads modules when it is first used, and confined it can't
    confine(replace(LIMITS, cpu_s=100_000, wall_s=100_000), int(parent))
    for number in range(int(start), int(stop)):
        data = mutant(int(seed), number, files)
        sys.stdout.write(f"{number} ")
        sys.stdout.flush()
        signal.setitimer(signal.ITIMER_PROF, LIMITS.cpu_s)  # its signal ends the process
        said = verdict(data)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(said.replace("\n", " ") + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
