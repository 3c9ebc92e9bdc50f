"""Resident memory of this side at several numbers of tunnels, idle after each has carried a byte."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from bench import load, processes, sshd
from bench.contenders.jtunnel import running_jtunnel
from bench.contenders.ssh import running_autossh
from bench.effort import Effort
from bench.figures import Contender, Row, Section
from bench.memory_map import MIB, add_up
from bench.place import Place

_OWN = "unshared"
_SHARED = "shared"
_AUTOSSH = "autossh"

#: Opens so many tunnels and yields the processes of this side.
_Open = Callable[[Place, list[int]], contextlib.AbstractContextManager[list[int]]]


def measure(place: Place, effort: Effort) -> Section:
    """Open so many tunnels of each kind, one kind after another, and look."""
    processes.find("autossh")
    contenders: dict[str, _Open] = {_OWN: _own, _SHARED: _shared, _AUTOSSH: _autossh}
    rows: list[Row] = []
    for count in effort.tunnel_counts:
        tunnels = f"{count} tunnel{'s' if count > 1 else ''}"
        rss, pss = (Row(f"{tunnels}, {kind}", "MiB", "less") for kind in ("RSS", "PSS"))
        for name, open_tunnels in contenders.items():
            ports = sshd.free_ports(count)
            with open_tunnels(place, ports) as pids:
                for port in ports:
                    load.round_trips(port, 1)
                memory = add_up(pids)
            rss.add(name, memory.rss / MIB)
            if memory.pss is not None:
                pss.add(name, memory.pss / MIB)
        rows += [rss, pss] if pss.figures else [rss]
    return Section(
        "memory",
        "Resident memory, idle, one reading",
        ours=[
            Contender(
                _OWN,
                "one jtunnel daemon, a profile and an SSH connection for each tunnel (share = false)",
            ),
            Contender(_SHARED, "the same with share = true (the default): all over one SSH connection"),
        ],
        rivals=[Contender(_AUTOSSH, "autossh -M 0 and its ssh -N -L for each tunnel")],
        rows=rows,
        remarks=[
            "PSS splits what processes share and so is the fair sum.",
            "This benchmark's Python shares its pages with the daemon, which takes a few MiB off its PSS.",
        ],
    )


@contextlib.contextmanager
def _own(place: Place, ports: list[int]) -> Iterator[list[int]]:
    with running_jtunnel(place, ports, share=False) as jtunnel:
        yield [jtunnel.daemon_pid()]


@contextlib.contextmanager
def _shared(place: Place, ports: list[int]) -> Iterator[list[int]]:
    with running_jtunnel(place, ports) as jtunnel:
        yield [jtunnel.daemon_pid()]


@contextlib.contextmanager
def _autossh(place: Place, ports: list[int]) -> Iterator[list[int]]:
    with running_autossh(place, ports) as started:
        yield [process.pid for child in started for process in processes.tree(child.pid)]
