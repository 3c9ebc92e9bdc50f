"""A stand-in for `systemctl --user` and the manager behind it: this file, run as a program of that name.

It reads the unit, starts its program and waits for READY=1, ends it, and enables it; more it does not do. The
real thing is in `login_machine`. Linux only.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time

UNIT = "jtunneld.service"
_READY_S = 20.0


class UserManager:
    """Installed below a home: a directory for PATH, and what was asked of it."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.bin = os.path.join(home, "stand-in")
        self.unit = os.path.join(home, ".config", "systemd", "user", UNIT)
        self._calls = os.path.join(self.bin, "calls")
        os.makedirs(self.bin)
        with open(os.path.join(self.bin, "systemctl"), "w") as file:
            file.write(f'#!/bin/sh\nexec {sys.executable} {__file__} {home} "$@"\n')
            os.fchmod(file.fileno(), 0o755)
        # Where a manager runs, it has this socket.
        os.makedirs(os.path.join(home, "systemd"))
        with open(os.path.join(home, "systemd", "private"), "w"):
            pass

    def calls(self) -> list[str]:
        """What changed something, in order, since the last look."""
        try:
            with open(self._calls) as file:
                calls = file.read().splitlines()
        except FileNotFoundError:
            return []
        os.unlink(self._calls)
        return [call for call in calls if not call.startswith(("show", "is-enabled"))]

    def pid(self) -> int | None:
        """The process that it started, if it lives."""
        return _pid(self.bin)


def main(home: str, *words: str) -> int:
    """One call of `systemctl --user`."""
    manager = os.path.join(home, "stand-in")
    directory = os.path.join(home, ".config", "systemd", "user")
    link = os.path.join(directory, "default.target.wants", UNIT)
    command, *rest = [word for word in words if word != "--user"]
    with open(os.path.join(manager, "calls"), "a") as file:
        file.write(f"{command}\n")
    match command:
        case "show" if "--property=UnitPath,Version" in rest:
            print(f"UnitPath={home}/.config/systemd/user.control {directory}\nVersion=255.4")
        case "show":
            print(_pid(manager) or 0)
        case "show-environment":
            print(f"HOME={home}")
        case "is-enabled":
            print("enabled" if os.path.islink(link) else "disabled")
        case "enable":
            os.makedirs(os.path.dirname(link), exist_ok=True)
            if not os.path.islink(link):
                os.symlink(os.path.join(directory, UNIT), link)
        case "disable":
            if os.path.islink(link):
                os.unlink(link)
        case "start":
            return _start(manager, os.path.join(directory, UNIT))
        case "stop":
            _stop(manager)
        case "restart":
            _stop(manager)
            return _start(manager, os.path.join(directory, UNIT))
    return 0


def _start(manager: str, unit: str) -> int:
    if _pid(manager):
        return 0
    environ = {name: os.environ[name] for name in ("HOME", "PATH", "JTUNNEL_TEST_MARK", "XDG_RUNTIME_DIR")}
    program = ""
    with open(unit) as file:
        for line in file:
            name, _, value = line.strip().partition("=")
            if name == "Environment":
                environ |= dict(word.split("=", 1) for word in shlex.split(value.replace("%%", "%")))
            elif name == "ExecStart":
                (program,) = shlex.split(value.removeprefix(":").replace("%%", "%"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        path = os.path.join(manager, "notify")
        if os.path.exists(path):
            os.unlink(path)
        notices.bind(path)
        notices.settimeout(_READY_S)
        nowhere = subprocess.DEVNULL
        process = subprocess.Popen(
            [program],
            env={**environ, "NOTIFY_SOCKET": path},
            stdin=nowhere,
            stdout=nowhere,
            stderr=nowhere,
            start_new_session=True,
        )
        while b"READY=1" not in notices.recv(4096):
            pass
    with open(os.path.join(manager, "pid"), "w") as file:
        file.write(str(process.pid))
    return 0


def _stop(manager: str) -> None:
    if pid := _pid(manager):
        os.kill(pid, signal.SIGTERM)
    give_up_at = time.monotonic() + _READY_S
    while _pid(manager) and time.monotonic() < give_up_at:
        time.sleep(0.02)


def _pid(manager: str) -> int | None:
    """Read from /proc: who adopts the orphan may leave it a zombie."""
    try:
        with open(os.path.join(manager, "pid")) as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/stat") as file:
            return None if file.read().rpartition(")")[2].split()[0] == "Z" else pid
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
