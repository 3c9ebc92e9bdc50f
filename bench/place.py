"""Where all is measured: a private home with keys and ssh_config, an sshd, a far side; gone at the end."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bench import processes, sshd
from bench.algorithms import Algorithms, ask_algorithms
from bench.failure import BenchError

#: The alias in the private ssh_config that leads to the benchmark's sshd.
HOST: Final = "bench"
#: What asyncssh prefers; OpenSSH's own first choices are slower and differ with its version.
KEY_EXCHANGE: Final = "curve25519-sha256"
_SSH_CONFIG: Final = """\
Host {host}
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {identity}
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {known_hosts}
  GlobalKnownHostsFile /dev/null
  KexAlgorithms {key_exchange}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Paths, environment and addresses that all contenders share."""

    directory: str
    env: Mapping[str, str]
    """The whole environment of child processes."""
    ssh_config: str
    far_port: int
    algorithms: Algorithms

    @property
    def log(self) -> str:
        """Where child processes write their errors."""
        return os.path.join(self.directory, "children.log")


@contextlib.contextmanager
def open_place() -> Iterator[Place]:
    """Set all up; end every process and remove every file afterwards. Raises BenchError."""
    processes.find("ssh")
    # Short, and not below TMPDIR: a Unix socket's path ends at 103 bytes on macOS.
    directory = tempfile.mkdtemp(prefix="jt-bench-", dir="/tmp")
    try:
        with contextlib.ExitStack() as stack:
            yield _furnish(directory, stack)
    finally:
        # A daemon whose `jtunnel up` was cut short is known to nobody else.
        processes.stop(processes.with_home(directory), politely_s=0)
        shutil.rmtree(directory)


def _furnish(directory: str, stack: contextlib.ExitStack) -> Place:
    host_key, identity = os.path.join(directory, "host_key"), os.path.join(directory, "id_ed25519")
    sshd.make_key(host_key)
    sshd.make_key(identity)
    port = stack.enter_context(sshd.running_sshd(directory, host_key, f"{identity}.pub"))
    known_hosts, ssh_config = os.path.join(directory, "known_hosts"), os.path.join(directory, "ssh_config")
    with open(f"{host_key}.pub") as public, open(known_hosts, "w") as known:
        known.write(f"[127.0.0.1]:{port} {public.read()}")
    with open(ssh_config, "w") as file:
        file.write(
            _SSH_CONFIG.format(
                host=HOST,
                port=port,
                user=getpass.getuser(),
                identity=identity,
                known_hosts=known_hosts,
                key_exchange=KEY_EXCHANGE,
            )
        )
    env = {
        "HOME": directory,
        "PATH": f"{os.path.join(sys.prefix, 'bin')}:{processes.SYSTEM_PATH}",
        "LANG": "C.UTF-8",
        "JTUNNEL_CONFIG": os.path.join(directory, "config.toml"),
        "JTUNNEL_RUNTIME_DIR": os.path.join(directory, "run"),
        "JTUNNEL_STATE_DIR": os.path.join(directory, "state"),
    }
    far_port = stack.enter_context(_running_far_side(env, os.path.join(directory, "far_side.log")))
    return Place(directory, env, ssh_config, far_port, ask_algorithms(ssh_config, env))


@contextlib.contextmanager
def _running_far_side(env: Mapping[str, str], log: str) -> Iterator[int]:
    """The far side's process for as long as the block runs; the value is its port."""
    # As `python -m bench` itself, it is found from the project's root, where both run.
    argv = [sys.executable, "-m", "bench.far_side"]
    with processes.running(argv, env, log, talking=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise BenchError(f"the far side does not start: {processes.last_line(log)}")
        yield int(line)
