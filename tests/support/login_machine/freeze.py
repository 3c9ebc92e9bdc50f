"""freeze.py PID: stop the main thread of a process, and no other, until that has ended. Linux, as root.

An event loop that is stuck looks so: its process lives, its other threads run, its signals go unheard.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PTRACE_SEIZE = 0x4206
_PTRACE_INTERRUPT = 0x4207
#: Of waitpid(2): also for what is no child.
_WALL = 0x40000000


def main(pid: int) -> None:
    """Stop it, say so, and wait for its end."""
    libc = ctypes.CDLL(None, use_errno=True)
    for request in (_PTRACE_SEIZE, _PTRACE_INTERRUPT):
        if libc.ptrace(request, pid, None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(pid, _WALL)
    print("frozen", flush=True)
    while True:
        _, status = os.waitpid(pid, _WALL)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
