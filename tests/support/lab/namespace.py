"""A machine of the lab: a network namespace, and a mount namespace for its own /etc/resolv.conf and /sys.

Both are held by descriptors alone. Links and addresses are the network's affair.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Final, Self, TypeVar

from tests.support.home import SYSTEM_PATH

COMMAND_TIMEOUT_S: Final = 20.0
#: Flags of unshare(2) and setns(2), then of mount(2).
_CLONE_FS: Final = 0x200
_CLONE_NEWNS: Final = 0x20000
_CLONE_NEWNET: Final = 0x40000000
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_SLAVE: Final = 0x80000

_T = TypeVar("_T")
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """What is called, run or opened here sees this network; child processes stay in it.

    `resolv_conf` is the path of a file that is its /etc/resolv.conf.
    """

    def __init__(self, resolv_conf: str) -> None:
        self._resolv_conf = resolv_conf
        self._network = self._mounts = -1
        try:
            _in_thread(self._make)
        except PermissionError:
            raise RuntimeError(
                "network namespaces cannot be made here; that takes root with CAP_SYS_ADMIN and CAP_NET_ADMIN"
            ) from None
        self.run("ip", "link", "set", "lo", "up")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._network)
        os.close(self._mounts)

    @property
    def path(self) -> str:
        """The network namespace as a file, for `ip link … netns PATH` and `nsenter --net=PATH`."""
        return f"/proc/{os.getpid()}/fd/{self._network}"

    def call(self, work: Callable[[], _T]) -> _T:
        """Call in a thread that is in here; sockets, threads and processes that it makes stay here."""

        def enter_and_work() -> _T:
            self._enter()
            return work()

        return _in_thread(enter_and_work)

    def start_thread(self, work: Callable[[], None], name: str) -> threading.Thread:
        """Start a thread in here."""

        def start() -> threading.Thread:
            # A new thread begins in the namespaces of the one that starts it.
            thread = threading.Thread(target=work, name=name, daemon=True)
            thread.start()
            return thread

        return self.call(start)

    def run(self, *command: str, stdin: str = "") -> str:
        """Run a command to its end; the answer is its output. RuntimeError where it fails."""

        def run() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                command,
                env={"PATH": SYSTEM_PATH},
                input=stdin,
                capture_output=True,
                text=True,
                timeout=COMMAND_TIMEOUT_S,
            )

        ended = self.call(run)
        if ended.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed: {ended.stderr.strip()}")
        return ended.stdout

    def write(self, path: str, text: str) -> None:
        """Write to a file as seen from here, such as one below /proc/sys/net."""

        def write() -> None:
            with open(path, "w") as file:
                file.write(text)

        self.call(write)

    def open_socket(self, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """An IPv4 socket of this network, for use from any thread."""
        return self.call(lambda: socket.socket(socket.AF_INET, kind))

    def dial(self, host: str, port: int, timeout_s: float = 10.0) -> socket.socket:
        """Connect by TCP to an IP address."""
        stream = self.open_socket()
        stream.settimeout(timeout_s)
        try:
            stream.connect((host, port))
        except OSError:
            stream.close()
            raise
        return stream

    def _make(self) -> None:
        _check(_libc.unshare(_CLONE_FS | _CLONE_NEWNS | _CLONE_NEWNET))
        # What is mounted here is not seen outside.
        _mount("none", "/", None, _MS_REC | _MS_SLAVE)
        _mount("sysfs", "/sys", "sysfs", 0)
        _mount(self._resolv_conf, os.path.realpath("/etc/resolv.conf"), None, _MS_BIND)
        self._network = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._mounts = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def _enter(self) -> None:
        # A thread that shares its working directory with others may not change its mounts (setns(2)).
        _check(_libc.unshare(_CLONE_FS))
        _check(_libc.setns(self._mounts, _CLONE_NEWNS))
        _check(_libc.setns(self._network, _CLONE_NEWNET))


def _in_thread(work: Callable[[], _T]) -> _T:
    """Call in a thread of its own and wait: a namespace belongs to a thread, and ends with it."""
    outcome: Future[_T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as failure:  # noqa: BLE001  (the caller's thread raises it)
            outcome.set_exception(failure)

    threading.Thread(target=run, name="lab", daemon=True).start()
    return outcome.result()


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    kind_bytes = None if kind is None else kind.encode()
    _check(_libc.mount(source.encode(), target.encode(), kind_bytes, ctypes.c_ulong(flags), None))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
