"""The contenders in the lab: one tunnel each, from the laptop's loopback to the same echo on the server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

import psutil

from bench import processes
from bench.figures import Contender
from tests.support.lab.program import LabJtunnel
from tests.support.lab.site import ALIAS, Site
from tests.support.profiles import profile

#: Ports of the laptop's loopback, which is the lab's own.
_PORTS: Final = {"jtunnel": 8000, "autossh": 8001, "ssh": 8002}
_KEEPALIVE: Final = ("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3")
#: Without the gate a first failure is tried again too.
_AUTOSSH_ENV: Final = {"AUTOSSH_GATETIME": "0"}

JTUNNEL: Final = Contender("jtunnel", "one profile with one forward, all settings as they come")
RIVALS: Final = (
    Contender(
        "autossh",
        "autossh -M 0, AUTOSSH_GATETIME=0, ssh -N -L with ServerAliveInterval 5, ServerAliveCountMax 3",
    ),
    Contender("ssh", "ssh -N -L alone, as it comes: nobody starts it again when it ends"),
)


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A tunnel that was started; `process` leads those of this side."""

    name: str
    port: int
    process: psutil.Process


@contextlib.contextmanager
def open_tunnels(site: Site) -> Iterator[list[Tunnel]]:
    """Start all contenders; jtunnel is up when this returns, of the others nobody says it."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(start(site, _PORTS[name])) for name, start in _STARTS.items()]


@contextlib.contextmanager
def _jtunnel(site: Site, port: int) -> Iterator[Tunnel]:
    program = LabJtunnel(site.home, site.network.laptop)
    program.write_config(profile("lab", f"{port}:{site.echo.target}", host=ALIAS))
    try:
        program.check("up", "lab")
        yield Tunnel("jtunnel", port, program.process())
    finally:
        program.close()


@contextlib.contextmanager
def _autossh(site: Site, port: int) -> Iterator[Tunnel]:
    ssh = _ssh_argv(site, port, *_KEEPALIVE)
    env = {**_AUTOSSH_ENV, "AUTOSSH_PATH": ssh[0]}
    with _running(site, [processes.find("autossh"), "-M", "0", *ssh[1:]], env) as process:
        yield Tunnel("autossh", port, process)


@contextlib.contextmanager
def _ssh(site: Site, port: int) -> Iterator[Tunnel]:
    with _running(site, _ssh_argv(site, port), {}) as process:
        yield Tunnel("ssh", port, process)


def _ssh_argv(site: Site, port: int, *options: str) -> list[str]:
    forward = ("-N", "-L", f"127.0.0.1:{port}:{site.echo.target}", "-o", "ExitOnForwardFailure=yes")
    return [processes.find("ssh"), *site.home.ssh(ALIAS, options=(*forward, *options))[1:]]


@contextlib.contextmanager
def _running(site: Site, argv: list[str], env: dict[str, str]) -> Iterator[psutil.Process]:
    log = os.path.join(site.home.path, "rivals.log")
    started = site.network.laptop.call(lambda: processes.start(argv, {**site.home.env, **env}, log))
    try:
        yield psutil.Process(started.pid)
    finally:
        processes.end([started])


_STARTS: Final[dict[str, Callable[[Site, int], AbstractContextManager[Tunnel]]]] = {
    "jtunnel": _jtunnel,
    "autossh": _autossh,
    "ssh": _ssh,
}
