"""Asks the bot in this container whether it is alive: exit code 0 if it is, and 1 if not.

For the health check of the Dockerfile, which has no curl. Without METRICS_PORT there is nobody to ask, with 0 the
port isn't known; then the container is as healthy as its process runs.
"""

# ruff: noqa: INP001 - a script, not a part of a package

import http.client
import os
import sys
import urllib.request

_TIMEOUT_S = 4
_EVERY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - compared, not listened on


def main() -> int:
    """Returns the exit code."""
    port = os.environ.get("METRICS_PORT", "").strip()
    if not port:
        sys.stdout.write("METRICS_PORT isn't set: not asked\n")
        return 0
    if port.strip("0") == "":
        sys.stdout.write("METRICS_PORT is 0, any free port: not asked\n")
        return 0
    host = os.environ.get("METRICS_HOST", "").strip()
    if host in _EVERY_ADDRESS:
        host = "127.0.0.1"
    if ":" in host:
        host = f"[{host}]"
    # A proxy from the environment doesn't lead to this container.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{host}:{port}/healthz", timeout=_TIMEOUT_S) as response:
            sys.stdout.write(f"{response.status}\n")
    except (OSError, http.client.HTTPException) as error:  # OSError: also an answer such as 503
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
