"""Time from the command line to the first byte that came back through the tunnel."""

from __future__ import annotations

import time

from bench import load, processes, sshd
from bench.contenders.jtunnel import Jtunnel
from bench.contenders.ssh import ssh_argv
from bench.effort import Effort
from bench.figures import Contender, Row, Section
from bench.place import Place

_RUNNING = "up"
_STARTED = "daemon, up"
_SSH = "ssh"
_MS = 1000.0


def measure(place: Place, effort: Effort) -> Section:
    """Start each in turn, with nothing left of its start before."""
    row = Row("until a byte came back", "ms", "less")
    *ports, ssh_port = sshd.free_ports(3)
    jtunnel = Jtunnel(place, ports)
    try:
        for _ in range(effort.starts):
            row.add(_STARTED, _time_up(jtunnel, 0))
            jtunnel.down()
            row.add(_RUNNING, _time_up(jtunnel, 1))
            row.add(_SSH, _time_ssh(place, ssh_port))
            jtunnel.shut_down()
    finally:
        jtunnel.shut_down()
    return Section(
        "startup",
        f"From start to usable, median of {effort.starts} alternated starts",
        ours=[
            Contender(_RUNNING, "jtunnel up of a plain forward; the daemon runs, and has no SSH connection"),
            Contender(_STARTED, "the same where it has to start the daemon first"),
        ],
        rivals=[Contender(_SSH, "ssh -N -L")],
        rows=[row],
        remarks=[
            f"Both exchange keys by {place.algorithms.key_exchange}; ssh's own first choice is a slower one.",
            "A byte is tried every millisecond from the start on; a refused connection is tried anew.",
        ],
    )


def _time_up(jtunnel: Jtunnel, number: int) -> float:
    """Milliseconds from `jtunnel up` until a byte came back; returns once the command has ended too."""
    started_at = time.perf_counter()
    command = jtunnel.start("up", jtunnel.names[number])
    try:
        load.wait_first_byte(jtunnel.ports[number], command)
        took_s = time.perf_counter() - started_at
        command.wait(load.STALL_TIMEOUT_S)
    finally:
        if command.poll() is None:
            # Not with its descendants: one of them is the daemon, which is ended in order later.
            command.kill()
            command.wait()
    return took_s * _MS


def _time_ssh(place: Place, port: int) -> float:
    argv = ssh_argv(place, port)
    started_at = time.perf_counter()
    with processes.running(argv, place.env, place.log) as process:
        load.wait_first_byte(port, process)
        return (time.perf_counter() - started_at) * _MS
