"""What the process asks of the machine it runs on, so that its neighbours there learn nothing.

Everything that is made from here on, database, backup, temporary video, is for this user alone, whatever the
shell's umask says; no core file tells the keys. What only the operator can mend is said by `exposures`.
"""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

_OTHERS = 0o077
_OTHERS_WRITE = 0o022
_STICKY = 0o1000
"""In a folder with this bit, such as /tmp, only its owner moves a file away."""


def keep_private() -> None:
    """Keeps new files and, for as long as nobody raises the limit, the memory of a crashed process from others."""
    os.umask(_OTHERS)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def exposures(file: Path | None, dotenv: Path = Path(".env")) -> Iterator[str]:
    """One sentence for each way in which this machine gives more away than it needs to, and what to do.

    file: the database's, where it is one.
    """
    if os.geteuid() == 0:
        yield "runs as root, whom a hostile file would hand the whole machine. Give the bot a user of its own."
    if _mode(dotenv) & _OTHERS:
        yield "other users of this machine can read `.env`, and the keys in it. Say `chmod 600 .env`."
    if file is None:
        return
    if _mode(file) & _OTHERS:
        yield f"other users of this machine can read or write {file}. Say `chmod 600 {file}*`."
    folder_mode = _mode(file.parent)
    if folder_mode & _OTHERS_WRITE and not folder_mode & _STICKY:
        yield f"other users of this machine can replace files in {file.parent}. Say `chmod 700 {file.parent}`."


def _mode(path: Path) -> int:
    """Its permissions; none where it is not there, or out of sight."""
    try:
        return path.stat().st_mode & 0o7777
    except OSError:
        return 0
