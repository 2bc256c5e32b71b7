"""Runs `pip install -r FILE` and shows how far it is: pip itself prints two lines a package or nothing at all.

    python requirements/progress.py FILE COMMAND...

FILE is the set of requirements that COMMAND installs. Of pip's own output only the end is shown, if it fails.
"""

# ruff: noqa: INP001 - a script, not a part of a package

import subprocess
import sys
import time
from collections import deque
from pathlib import Path

_COLLECTING = ("Collecting ", "Requirement already satisfied: ")
_LINES = 5
"""How often progress is printed where a line can't be overwritten, as in a CI log."""
_OUTPUT_KEPT = 30


def main(file: str, *command: str) -> int:
    """Returns the command's exit code."""
    total = sum("==" in line for line in Path(file).read_text(encoding="utf-8").splitlines())
    terminal = sys.stdout.isatty()
    before, after = ("\r\033[K", "") if terminal else ("", "\n")
    output: deque[str] = deque(maxlen=_OUTPUT_KEPT)
    done, every, started_s = 0, max(1, total // _LINES), time.monotonic()
    sys.stdout.write(f"Installing the {total} packages of {file}. The first time, this takes a minute or two.\n")
    sys.stdout.flush()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:  # noqa: S603
        for line in pip.stdout or ():
            output.append(line)
            if line.startswith(_COLLECTING):
                done += 1
                if terminal or done % every == 0:
                    sys.stdout.write(f"{before}  fetched {done} of {total}{after}")
            elif line.startswith("Installing collected packages"):
                sys.stdout.write(f"{before}  unpacking{after}")
            sys.stdout.flush()
    if pip.returncode == 0:
        sys.stdout.write(f"{before}Installed in {time.monotonic() - started_s:.0f} s.\n")
    else:
        sys.stdout.write(f"{before}{''.join(output)}")
    return pip.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
