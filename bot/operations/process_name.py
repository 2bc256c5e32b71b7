"""What this process is called where several work on one database: in leases and on its connections."""

import os
import socket

APPLICATION = "zoetrope "
"""What the name of each connection to PostgreSQL begins with; the process's name follows."""

_HOST_MAX = 40
"""How much of a host's name is kept: PostgreSQL cuts a connection's name at 63 bytes."""


def process_name() -> str:
    """The host's name and the process's id, such as `bot-1:4711`."""
    host = "".join(char for char in socket.gethostname() if char.isascii() and (char.isalnum() or char in "-._"))
    return f"{host[:_HOST_MAX] or 'host'}:{os.getpid()}"
