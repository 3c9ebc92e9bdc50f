"""Starts a daemon where none answers: through the login service where there is one, else as its parent.

Such a child inherits nothing but its start-up log. Whether a second daemon may run is the business of the
daemon's own lock.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time

from jtunnel import paths
from jtunnel.client import login_service, terminal
from jtunnel.client.dial import dial
from jtunnel.errors import EXIT_USAGE, ConfigError, ControlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from jtunnel.client.connection import Connection

#: How long a daemon may take from its start to its first answer.
START_S: Final = 15.0
#: How long, after ours has ended, another daemon is waited for that won the race to the lock.
RACE_S: Final = 2.0
_AGAIN_S: Final = 1.0
_POLL_S: Final = 0.02
_LOG_NAME: Final = "startup.log"


def dial_or_start(environ: Mapping[str, str], *, remarks: bool = True) -> Connection:
    """Connect to the daemon, starting one if none runs; `remarks` as for `dial`.

    Raises ConfigError with the daemon's own words when the config is wrong, and ControlError.
    """
    if connection := _dial(environ, remarks=remarks):
        return connection
    directory = paths.runtime_dir(environ)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    log = os.path.join(directory, _LOG_NAME)
    # Clients that start at the same time take turns here: the second finds the first one's daemon.
    # The lock is on a descriptor of its own, since the daemon keeps the one it is given.
    lock = _open_log(log)
    try:
        _take_turn(lock)
        return _dial(environ) or _start_service(environ) or _start(environ, log, lock)
    finally:
        os.close(lock)


def _dial(environ: Mapping[str, str], *, remarks: bool = False) -> Connection | None:
    try:
        return dial(environ, remarks=remarks)
    except ControlError as error:
        if error.kind != "no-daemon":
            raise
        return None


def _start_service(environ: Mapping[str, str]) -> Connection | None:
    """The daemon of the login service; None where there is no such service, or it does not answer."""
    give_up_at = time.monotonic() + START_S
    # Asked again: one that finds another daemon ends again, and while it does there is nothing to start.
    # launchd besides does not wait until it is ready.
    while login_service.start(environ):
        ask_again_at = time.monotonic() + _AGAIN_S
        while time.monotonic() < ask_again_at:
            if connection := _dial(environ):
                return connection
            time.sleep(_POLL_S)
        if time.monotonic() > give_up_at:
            break
    return None


def _start(environ: Mapping[str, str], log: str, lock: int) -> Connection:
    os.ftruncate(lock, 0)
    process = _spawn(environ, log)
    started_at = time.monotonic()
    ended_at: float | None = None
    while True:
        if connection := _dial(environ):
            return connection
        now = time.monotonic()
        if ended_at is None and process.poll() is not None:
            ended_at = now
            if process.returncode == EXIT_USAGE:
                break
        if ended_at is None and now - started_at > START_S:
            process.terminate()
            raise ControlError(
                "daemon-failed",
                f"the daemon was started and did not answer within {START_S:.0f} s",
                f"see {log}, or run it in the foreground: jtunneld",
            )
        if ended_at is not None and now - ended_at > RACE_S:
            break
        time.sleep(_POLL_S)
    raise _failure(process.returncode, log, lock)


def _failure(exit_code: int, log: str, lock: int) -> ConfigError | ControlError:
    *before, last = _last_words(lock) or [f"it said nothing (exit code {exit_code})"]
    if exit_code == EXIT_USAGE:
        for line in before:
            terminal.say(line)
        return ConfigError("config-invalid", last)
    return ControlError("daemon-failed", f"the daemon ended as it started: {last}", f"see {log}")


def _spawn(environ: Mapping[str, str], log: str) -> subprocess.Popen[bytes]:
    # The daemon works in /, where a relative path would mean something else.
    given = {name: value for name, value in environ.items() if name not in login_service.MANAGERS_VARIABLES}
    output = _open_log(log)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "jtunnel", "daemon"],
            env=given | login_service.overrides(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            close_fds=True,
            start_new_session=True,
        )
    finally:
        os.close(output)


def _open_log(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def _take_turn(lock: int) -> None:
    give_up_at = time.monotonic() + 2 * START_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise ControlError(
                    "daemon-failed", "another jtunnel is still starting the daemon", "try again"
                ) from None
            time.sleep(_POLL_S)


def _last_words(log: int, count: int = 10) -> list[str]:
    """The last lines that the daemon said, without the name that it put before them."""
    text = os.pread(log, 65536, max(0, os.fstat(log).st_size - 65536)).decode(errors="replace")
    lines = (line.rstrip().removeprefix("jtunneld: ").removeprefix("jtunnel: ") for line in text.splitlines())
    return [line for line in lines if line][-count:]
