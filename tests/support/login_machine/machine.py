"""The machine itself: booted, used as root, and gone at the end. Logging in is a `Login`'s affair."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

import psutil
import pytest

from tests.support import processes
from tests.support.home import SYSTEM_PATH
from tests.support.keys import Key, make_key
from tests.support.login_machine.units import SSHD_CONFIG, UNITS
from tests.support.programs import find_program

BOOT_TIMEOUT_S: Final = 30.0
COMMAND_TIMEOUT_S: Final = 30.0
END_TIMEOUT_S: Final = 10.0
#: As the machine sees the directory that it shares with the test.
SHARED: Final = "/run/host"
_BOOT: Final = os.path.join(os.path.dirname(__file__), "boot.sh")
_PROJECT: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))
#: What no PATH leads to.
_NEEDED: Final = (
    "/lib/systemd/systemd",
    "/usr/share/pam-configs/systemd",
    "/usr/lib/systemd/user/dbus.socket",
)


class LoginMachine:
    """A context manager; inside it the machine runs, with an sshd at 127.0.0.1:22 of its own network.

    This project's tree and the Python of its tests are in it at the same paths.
    """

    def __init__(self) -> None:
        for program in ("unshare", "nsenter", "setpriv", "pgrep", "dbus-daemon", "sshd"):
            find_program(program)
        if missing := [path for path in _NEEDED if not os.path.exists(path)]:
            pytest.skip(f"not installed: {', '.join(missing)} (see tests/setup/system.sh)")
        # Its cgroup has the same name.
        self._directory = tempfile.mkdtemp(prefix="jt-machine-", dir="/tmp")
        self._process: subprocess.Popen[bytes] | None = None
        self._init: psutil.Process | None = None
        self.host_key: Key

    def __enter__(self) -> Self:
        try:
            self._prepare()
            self._boot()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    @property
    def shared(self) -> str:
        """The directory that the machine sees as `SHARED`."""
        return os.path.join(self._directory, "host")

    def spawn(self, *command: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command as root, in no session and in no unit; its streams are pipes."""
        return subprocess.Popen(
            self._entering(command, environ or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def try_run(
        self,
        *command: str,
        stdin: str = "",
        environ: Mapping[str, str] | None = None,
        timeout_s: float = COMMAND_TIMEOUT_S,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root to its end; any exit code is an answer."""
        return subprocess.run(
            self._entering(command, environ or {}),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def run(self, *command: str, stdin: str = "") -> str:
        """Run a command as root that has to succeed; the answer is its standard output."""
        ended = self.try_run(*command, stdin=stdin)
        assert ended.returncode == 0, f"{' '.join(command)} fails: {ended.stdout}{ended.stderr}"
        return ended.stdout

    def wait_for(self, question: str, timeout_s: float = COMMAND_TIMEOUT_S) -> None:
        """Block until a shell's test succeeds in the machine, asked again and again as root."""
        asking = f"until {question}; do sleep 0.05; done"
        try:
            ended = subprocess.run(
                self._entering(["sh", "-c", asking], {}), capture_output=True, text=True, timeout=timeout_s
            )
        except subprocess.TimeoutExpired:
            raise AssertionError(f"after {timeout_s} s still not: {question}\n{self.journal()}") from None
        assert ended.returncode == 0, ended.stderr

    def journal(self, *options: str) -> str:
        """The journal since boot, of the whole machine unless options say otherwise."""
        return self.run("journalctl", "--boot", "--no-pager", "--output=short-monotonic", *options)

    def process(self, inner_pid: int) -> psutil.Process:
        """The process that has this number in the machine."""
        assert self._init is not None
        for process in [self._init, *self._init.children(recursive=True)]:
            with contextlib.suppress(OSError), open(f"/proc/{process.pid}/status") as file:
                numbers = next(line.split() for line in file if line.startswith("NSpid:"))
                if numbers[-1] == str(inner_pid):
                    return process
        raise AssertionError(f"no process {inner_pid} in the machine")

    def _prepare(self) -> None:
        for name in ("cgroup", "layers", "root", "host", "units"):
            os.mkdir(os.path.join(self._directory, name), 0o755)
        os.chmod(self._directory, 0o755)
        for name, text in UNITS.items():
            self._write("units", name, text)
        self._write("host", "sshd_config", SSHD_CONFIG)
        self.host_key = make_key(self.shared, "host_key")

    def _write(self, directory: str, name: str, text: str) -> None:
        with open(os.path.join(self._directory, directory, name), "w") as file:
            file.write(text)

    def _boot(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
            notices.bind(os.path.join(self.shared, "notify"))
            notices.settimeout(BOOT_TIMEOUT_S)
            # It ends with whoever runs the tests.
            apart = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"]
            with open(os.path.join(self._directory, "boot.log"), "wb") as log:
                self._process = subprocess.Popen(
                    [*apart, "sh", _BOOT, self._directory, *_trees()],
                    env={"PATH": SYSTEM_PATH},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            self._await_ready(notices)
        (self._init,) = psutil.Process(self._process.pid).children()

    def _await_ready(self, notices: socket.socket) -> None:
        """Wait until systemd says that it has started what it should (sd_notify(3))."""
        assert self._process is not None
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            notices.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in notices.recv(4096).split(b"\n"):
                    return
        with open(os.path.join(self._directory, "boot.log")) as file:
            raise AssertionError(f"the machine does not boot: {file.read()}")

    def _entering(self, command: tuple[str, ...] | list[str], environ: Mapping[str, str]) -> list[str]:
        assert self._init is not None, "it is not running"
        settings = {"PATH": SYSTEM_PATH, "HOME": "/root", "LANG": "C.UTF-8", **environ}
        variables = [f"{name}={value}" for name, value in settings.items()]
        return ["nsenter", "--all", "--target", str(self._init.pid), "--", "env", "-i", *variables, *command]

    def _end(self) -> None:
        """Everything in it ends with its PID 1, and its mounts with its last process."""
        if self._process is not None:
            inside = processes.children(self._process.pid)
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(END_TIMEOUT_S)
            left = processes.await_end(inside, END_TIMEOUT_S)
            assert not left, f"these outlive their machine: {processes.describe(left)}"
            _remove_cgroup(os.path.basename(self._directory))
        shutil.rmtree(self._directory)


def _trees() -> list[str]:
    """This project, and the Python that runs its tests where it is not the system's."""
    pythons = (os.path.realpath(path) for path in (sys.prefix, sys.base_prefix))
    there_already = ("/usr/", f"{_PROJECT}/")
    return [_PROJECT, *(path for path in pythons if not f"{path}/".startswith(there_already))]


def _remove_cgroup(name: str) -> None:
    """Remove the machine's cgroup, which has no process any more, and all below it."""
    removing = 'mount -t cgroup2 cgroup2 "$1" && find "$1/$2" -depth -type d -exec rmdir {} +'
    with tempfile.TemporaryDirectory(prefix="jt-cgroup-", dir="/tmp") as place:
        subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", removing, "sh", place, name],
            check=True,
            timeout=COMMAND_TIMEOUT_S,
        )
