"""Asks for Landlock under a filter that ends whoever does: `python -m tests.media.landlock_killer`."""

import ctypes
import struct
import sys

from bot.media import landlock
from bot.operations.linux import SECCOMP_FILTER, ProcessOption, set_process_option

_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # linux/filter.h
_ALLOW, _KILL_PROCESS = 0x7FFF_0000, 0x8000_0000  # linux/seccomp.h
_CREATE_RULESET = 444


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def main() -> None:
    instructions = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (_LOAD, 0, 0, 0),
            (_JUMP_IF_EQUAL, 0, 1, _CREATE_RULESET),
            (_RETURN, 0, 0, _KILL_PROCESS),
            (_RETURN, 0, 0, _ALLOW),
        )
    )
    held = ctypes.create_string_buffer(instructions, len(instructions))
    set_process_option(ProcessOption.NO_NEW_PRIVILEGES, 1)
    set_process_option(ProcessOption.SECCOMP, SECCOMP_FILTER, ctypes.byref(Program(4, ctypes.addressof(held))))
    sys.stdout.write(str(landlock.abi()))


if __name__ == "__main__":
    main()
