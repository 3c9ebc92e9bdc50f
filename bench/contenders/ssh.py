"""OpenSSH's client as a rival: the command lines that do what one jtunnel profile does."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from typing import Final

from bench import load, processes
from bench.place import HOST, Place

#: A remote command that lives as long as its standard input.
_SESSION: Final = "exec cat"


def ssh_argv(place: Place, port: int, *, cipher: str | None = None, session: bool = False) -> list[str]:
    """`ssh -L`, with -N unless a `session` is opened beside; `cipher` in place of its default."""
    options = ["-o", f"Ciphers={cipher}"] if cipher else []
    forward = [*options, *_forward(place, port)]
    if session:
        return [processes.find("ssh"), "-T", *forward, HOST, _SESSION]
    return [processes.find("ssh"), "-N", *forward, HOST]


def autossh_argv(place: Place, port: int) -> list[str]:
    """autossh without its monitoring port, keeping `ssh -N -L` alive."""
    return [processes.find("autossh"), "-M", "0", "-N", *_forward(place, port), HOST]


def _forward(place: Place, port: int) -> list[str]:
    known = ["-o", "ExitOnForwardFailure=yes", "-o", "BatchMode=yes"]
    return ["-F", place.ssh_config, *known, "-L", f"127.0.0.1:{port}:127.0.0.1:{place.far_port}"]


@contextlib.contextmanager
def running_ssh(place: Place, argv: Sequence[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """One such tunnel that works, for as long as the block runs."""
    # A session needs an open standard input, or it would end at once.
    with processes.running(argv, place.env, place.log, talking=True) as process:
        load.wait_first_byte(port, process)
        yield process


@contextlib.contextmanager
def running_autossh(place: Place, ports: Sequence[int]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """One autossh for each port, all of them working, for as long as the block runs."""
    # As the manual has it: without the gate a first failure is tried again too.
    env = {**place.env, "AUTOSSH_GATETIME": "0", "AUTOSSH_PATH": processes.find("ssh")}
    started: list[subprocess.Popen[bytes]] = []
    try:
        for port in ports:
            argv = autossh_argv(place, port)
            started.append(processes.start(argv, env, place.log))
        for port, process in zip(ports, started, strict=True):
            load.wait_first_byte(port, process)
        yield started
    finally:
        processes.end(started)
