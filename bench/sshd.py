"""OpenSSH's sshd on a free loopback port, with keys and config of its own; it lets in whoever runs this."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Final

from bench import processes
from bench.failure import BenchError

START_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.01
_PRIVILEGE_SEPARATION_DIR: Final = "/run/sshd"
_CONFIG: Final = """\
ListenAddress 127.0.0.1:{port}
HostKey {host_key}
AuthorizedKeysFile {authorized_keys}
PidFile none
UsePAM no
StrictModes no
PermitUserRC no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 200:30:400
MaxSessions 100
LogLevel INFO
"""


def make_key(path: str) -> None:
    """Write an Ed25519 key pair without passphrase to `path` and `path`.pub."""
    keygen = processes.find("ssh-keygen")
    made = subprocess.run(
        [keygen, "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", path],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
    )
    if made.returncode:
        raise BenchError(f"ssh-keygen failed: {made.stderr.strip()}")


@contextlib.contextmanager
def running_sshd(directory: str, host_key: str, authorized_keys: str) -> Iterator[int]:
    """An sshd for as long as the block runs; the value is its port. Its files are in `directory`."""
    program = processes.find("sshd")
    port = free_ports(1)[0]
    config, log = os.path.join(directory, "sshd_config"), os.path.join(directory, "sshd.log")
    with open(config, "w") as file:
        file.write(_CONFIG.format(port=port, host_key=host_key, authorized_keys=authorized_keys))
    with (
        _privilege_separation_dir(),
        processes.running(
            [program, "-D", "-e", "-f", config], {"PATH": processes.SYSTEM_PATH}, log
        ) as process,
    ):
        _await_listening(process, log, port)
        yield port


def free_ports(count: int) -> list[int]:
    """Different loopback ports on which nobody listens."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def _await_listening(process: subprocess.Popen[bytes], log: str, port: int) -> None:
    # Its log is asked and not its port: OpenSSH 9.8 and later penalise bare connections.
    give_up_at = time.monotonic() + START_TIMEOUT_S
    while True:
        with open(log) as file:
            if f"port {port}" in file.read():
                return
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise BenchError(f"sshd does not start: {processes.last_line(log)}")
        time.sleep(_POLL_S)


@contextlib.contextmanager
def _privilege_separation_dir() -> Iterator[None]:
    """Root's sshd wants this directory, which the system's service makes where there is one."""
    wanted = os.geteuid() == 0 and os.path.isdir("/run") and not os.path.isdir(_PRIVILEGE_SEPARATION_DIR)
    if wanted:
        os.mkdir(_PRIVILEGE_SEPARATION_DIR, 0o755)
    try:
        yield
    finally:
        if wanted:
            with contextlib.suppress(OSError):
                os.rmdir(_PRIVILEGE_SEPARATION_DIR)
