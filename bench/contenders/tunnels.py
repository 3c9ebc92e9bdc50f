"""Tunnels of several kinds that stand side by side, to be measured in turn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench import sshd
from bench.contenders.jtunnel import running_jtunnel
from bench.contenders.ssh import running_ssh, ssh_argv
from bench.figures import Contender
from bench.place import Place

JTUNNEL: Final = "jtunnel"
SSH: Final = "ssh"
SSH_SAME_CIPHER: Final = "same cipher"
SSH_SESSION: Final = "with session"


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A working tunnel to the far side; `pid` is the process on this side that carries its bytes."""

    name: str
    port: int
    pid: int


@contextlib.contextmanager
def open_tunnels(place: Place, rivals: Sequence[str]) -> Iterator[list[Tunnel]]:
    """jtunnel and the rivals named, each with one tunnel, for as long as the block runs."""
    ports = sshd.free_ports(1 + len(rivals))
    with contextlib.ExitStack() as stack:
        jtunnel = stack.enter_context(running_jtunnel(place, ports[:1]))
        tunnels = [Tunnel(JTUNNEL, ports[0], jtunnel.daemon_pid())]
        for name, port in zip(rivals, ports[1:], strict=True):
            argv = ssh_argv(
                place,
                port,
                cipher=place.algorithms.cipher if name == SSH_SAME_CIPHER else None,
                session=name == SSH_SESSION,
            )
            process = stack.enter_context(running_ssh(place, argv, port))
            tunnels.append(Tunnel(name, port, process.pid))
        yield tunnels


def contender(place: Place, name: str) -> Contender:
    """The column of a tunnel opened here, and what it stands for."""
    algorithms = place.algorithms
    meanings = {
        JTUNNEL: f"one profile with one forward, {algorithms.cipher}",
        SSH: f"ssh -N -L, its default cipher {algorithms.ssh_cipher}",
        SSH_SAME_CIPHER: f"ssh -N -L -o Ciphers={algorithms.cipher}",
        SSH_SESSION: "ssh -L with a remote command instead of -N: sshd switches Nagle's algorithm off only "
        "when a session begins, and jtunnel begins one",
    }
    return Contender(name, meanings[name])
