"""Bulk throughput down and up, and the processor time it costs the client."""

from __future__ import annotations

from bench import load, processes
from bench.contenders.tunnels import JTUNNEL, SSH, SSH_SAME_CIPHER, contender, open_tunnels
from bench.effort import MIB, Effort
from bench.figures import Row, Section
from bench.place import Place

_RIVALS = (SSH, SSH_SAME_CIPHER)
_DIRECTIONS = {"down": load.download, "up": load.upload}
_MEGABYTE = 1e6
_GIGABYTE = 1e9


def measure(place: Place, effort: Effort) -> Section:
    """Move the same bytes through each tunnel in turn."""
    size = effort.bulk_bytes
    speeds = {direction: Row(f"throughput {direction}", "MB/s", "more") for direction in _DIRECTIONS}
    costs = {direction: Row(f"client CPU {direction}", "s/GB", "less") for direction in _DIRECTIONS}
    with open_tunnels(place, _RIVALS) as tunnels:
        for tunnel in tunnels:
            load.download(tunnel.port, MIB)
        for _ in range(effort.rounds):
            for tunnel in tunnels:
                for direction, move in _DIRECTIONS.items():
                    cpu_before_s = processes.cpu_s(tunnel.pid)
                    took_s = move(tunnel.port, size)
                    cpu_s = processes.cpu_s(tunnel.pid) - cpu_before_s
                    speeds[direction].add(tunnel.name, size / _MEGABYTE / took_s)
                    costs[direction].add(tunnel.name, cpu_s / size * _GIGABYTE)
    bare = [size / _MEGABYTE / move(place.far_port, size) for move in _DIRECTIONS.values()]
    return Section(
        "bulk",
        f"Bulk: {size // MIB} MiB each way, median of {effort.rounds} alternated rounds",
        ours=[contender(place, JTUNNEL)],
        rivals=[contender(place, name) for name in _RIVALS],
        rows=[*speeds.values(), *costs.values()],
        remarks=[
            f"Without any tunnel the same generator moves {bare[0]:.0f} MB/s down and {bare[1]:.0f} up.",
            "Client CPU is the daemon's, or ssh's; 1 GB is 10^9 bytes.",
        ],
    )
