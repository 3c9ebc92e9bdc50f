"""A machine of its own as far as what is started there can tell: a host name, a boot, mounts, and more.

The kernel and the files are this machine's. Takes root.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from types import TracebackType
from typing import Final, Self

import psutil

from tests.support.programs import find_program

COMMAND_TIMEOUT_S: Final = 30
#: The first process: it names the node, then takes in orphans until it is ended.
_INIT: Final = """
import signal, socket, subprocess, sys
socket.sethostname(sys.argv[1])
subprocess.run(["mount", "--bind", sys.argv[2], "/proc/sys/kernel/random/boot_id"], check=True)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
sys.stdin.read()
"""


class Node:
    """A host name and a boot, which a file stands for; with `apart`, processes and a network of its own too.

    A command after the words of `enter` runs there. The node ends with the block, and where it is apart, all
    that runs there too.
    """

    def __init__(self, name: str, boot: str, *, apart: bool = False) -> None:
        find_program("unshare")
        own = ["--pid", "--fork", "--kill-child", "--mount-proc", "--net"] if apart else []
        shown = ["--pid", "--net"] if apart else []
        init = [sys.executable, "-c", _INIT, name, boot]
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--uts", "--propagation", "private", *own, *init],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "the node does not start"
        process = psutil.Process(self._process.pid)
        self._init = process.children()[0] if apart else process
        enter = ["nsenter", "--target", str(self._init.pid), "--mount", "--uts", *shown]
        self.enter = [*enter, "--"]
        # With these, it stays the process that was started; what that starts is of the node altogether.
        self.entry = [*enter, *(["--no-fork"] if apart else []), "--"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def run(self, *command: str) -> None:
        """Run a command there as root, to its end."""
        subprocess.run([*self.enter, *command], check=True, timeout=COMMAND_TIMEOUT_S)

    def give_address(self) -> str:
        """Join a node that is apart to this machine by a wire; the answer is its address on it."""
        # RFC 2544 §C.2.2 keeps 198.18.0.0/15 for tests.
        network = f"198.{18 + secrets.randbelow(2)}.{secrets.randbelow(256)}"
        wire = f"jtn{secrets.token_hex(4)}"
        pid = str(self._init.pid)
        for command in (
            ("link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", pid),
            ("address", "add", f"{network}.1/24", "dev", wire),
            ("link", "set", wire, "up"),
        ):
            subprocess.run(["ip", *command], check=True, timeout=COMMAND_TIMEOUT_S)
        self.run("ip", "address", "add", f"{network}.2/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "link", "set", "lo", "up")
        return f"{network}.2"

    def close(self) -> None:
        """End it."""
        self._init.kill()
        self._process.communicate(timeout=COMMAND_TIMEOUT_S)
