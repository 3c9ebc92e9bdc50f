"""New connections a second: one after another and many at a time."""

from __future__ import annotations

from bench import load
from bench.contenders.tunnels import JTUNNEL, SSH, SSH_SESSION, contender, open_tunnels
from bench.effort import Effort
from bench.far_side import ANSWER, ECHO
from bench.figures import Row, Section
from bench.place import Place

_RIVALS = (SSH, SSH_SESSION)
_WIDTH = 20
_CLOSERS = {"us": ECHO, "far side": ANSWER}


def measure(place: Place, effort: Effort) -> Section:
    """Connect through each tunnel in turn for a fixed time."""
    seconds = effort.connections_s
    rows: list[Row] = []
    with open_tunnels(place, _RIVALS) as tunnels:
        for closed_by, letter in _CLOSERS.items():
            in_turn = Row(f"closed by {closed_by}, one by one", "per s", "more")
            at_once = Row(f"closed by {closed_by}, {_WIDTH} at a time", "per s", "more")
            for tunnel in tunnels:
                load.connect_in_turn(tunnel.port, seconds / 4, letter)
            for _ in range(effort.rounds):
                for tunnel in tunnels:
                    in_turn.add(tunnel.name, load.connect_in_turn(tunnel.port, seconds, letter))
                    at_once.add(tunnel.name, load.connect_at_once(tunnel.port, seconds, letter, _WIDTH))
            rows += [in_turn, at_once]
    bare = load.connect_in_turn(place.far_port, seconds, ECHO)
    bare_at_once = load.connect_at_once(place.far_port, seconds, ECHO, _WIDTH)
    return Section(
        "connections",
        f"New connections: opened, one byte each way, closed; {seconds:g} s a round, "
        f"median of {effort.rounds} alternated rounds",
        ours=[contender(place, JTUNNEL)],
        rivals=[contender(place, name) for name in _RIVALS],
        rows=rows,
        remarks=[
            "The far side closes first as web servers do that keep no connection alive; its end is awaited.",
            f"Without any tunnel: {bare:.0f} one by one, {bare_at_once:.0f} {_WIDTH} at a time.",
        ],
    )
