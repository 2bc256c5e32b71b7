"""Decodes mutated pictures under the decoder's limits: `python -m tests.fuzz PARENT_PID SEED START STOP`.

Prints each number before decoding and the verdict after, so that a reader knows which picture crashed the process.
"""

import logging
import sys
import time
import warnings
from dataclasses import replace

from bot.chat.messages.reason_texts import text_of
from bot.domain.errors import PictureRefused
from bot.media.decode_protocol import LIMITS
from bot.media.first_frame import prepare_first_frame
from bot.media.sandbox import confine
from tests.fuzz.mutations import mutant, samples
from tests.fuzz.oracle import flaw


def verdict(data: bytes) -> str:
    """`frame`, `refused`, or a description of the bug."""
    try:
        return flaw(prepare_first_frame(data)) or "frame"
    except PictureRefused as refused:
        text = text_of(refused.reason)
        return "refused" if "please" in text.lower() else f"a refusal that does not say what to do: {text}"
    except Exception as error:  # noqa: BLE001 - a bug that the fuzzer looks for
        return f"an error: {error!r}"


def main(parent_pid: str, seed: str, start: str, stop: str) -> None:
    """Decodes the mutants from `start` up to `stop`, exclusive."""
    logging.disable()
    warnings.simplefilter("ignore")
    files = samples()
    verdict(files[0])  # loads modules lazily, which the sandbox would prevent
    # A confined process can't limit each picture's time, so all have a common limit, which one that hangs uses up.
    cpu_s = LIMITS.cpu_s + (int(stop) - int(start)) // 10
    confine(replace(LIMITS, cpu_s=cpu_s, wall_s=100_000), int(parent_pid))
    for number in range(int(start), int(stop)):
        data = mutant(int(seed), number, files)
        sys.stdout.write(f"{number} ")
        sys.stdout.flush()
        began_s = time.process_time()
        text = verdict(data)
        if (took_s := time.process_time() - began_s) > LIMITS.cpu_s:
            text = f"too slow: {took_s:.1f} s of CPU"
        sys.stdout.write(text.replace("\n", " ") + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
