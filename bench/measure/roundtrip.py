"""Round trips of small messages on one established connection."""

from __future__ import annotations

from bench import load
from bench.contenders.tunnels import JTUNNEL, SSH, SSH_SAME_CIPHER, contender, open_tunnels
from bench.effort import Effort
from bench.far_side import MESSAGE_BYTES
from bench.figures import Row, Section, percentile
from bench.place import Place

_RIVALS = (SSH, SSH_SAME_CIPHER)
_MS = 1000.0


def measure(place: Place, effort: Effort) -> Section:
    """Let each tunnel in turn carry messages to the echo and back, one at a time."""
    rows = {percent: Row(f"round trip p{percent}", "ms", "less") for percent in (50, 99)}
    with open_tunnels(place, _RIVALS) as tunnels:
        for tunnel in tunnels:
            load.round_trips(tunnel.port, effort.messages // 10)
        for _ in range(effort.rounds):
            for tunnel in tunnels:
                times = load.round_trips(tunnel.port, effort.messages)
                for percent, row in rows.items():
                    row.add(tunnel.name, percentile(times, percent) * _MS)
    bare = percentile(load.round_trips(place.far_port, effort.messages), 50) * _MS
    return Section(
        "roundtrip",
        f"Round trips: {effort.messages} messages of {MESSAGE_BYTES} bytes on one connection, "
        f"median of {effort.rounds} alternated rounds",
        ours=[contender(place, JTUNNEL)],
        rivals=[contender(place, name) for name in _RIVALS],
        rows=list(rows.values()),
        remarks=[f"Without any tunnel: p50 {bare:.3f} ms."],
    )
