"""Which port the server is to have, and whether it is free. Pure."""

from __future__ import annotations

from typing import Final, Literal

from jtunnel.errors import ServerError
from jtunnel.jupyter.setup.facts import Facts

#: Jupyter's own default, and those that it would try next.
_USUAL: Final = range(8888, 9000)


def asked_port(wish: int | Literal["auto"] | None, current: int | None, preferred: int | None) -> int | None:
    """The port asked for: without a wish the `current` one, else that of the profile; None for any."""
    if wish is None:
        return current or preferred
    return wish if isinstance(wish, int) else None


def choose_port(facts: Facts, asked: int | None) -> tuple[int, list[str]]:
    """The port to write down, 8888 or the next that is free where any will do, and what is to be said of it.

    Raises ServerError (`jupyter-failed`) where it cannot be had.
    """
    port = asked or _free(facts)
    node, ports = facts.ground.node, facts.ports
    if port < ports.reserved_below and facts.ground.uid != 0:
        raise ServerError(
            "jupyter-failed",
            f"port {port} on {node} is for root alone, as all below {ports.reserved_below}",
            f"take another, such as --port {_free(facts, port + 10000)}, or --port auto",
        )
    owner = ports.taken.get(port)
    if owner is not None and owner != facts.ground.uid:
        raise ServerError(
            "jupyter-failed",
            f"port {port} on {node} is taken by a process of {facts.port_owner or f'uid {owner}'}",
            f"take another, such as --port {_free(facts, port + 1)}, or --port auto",
        )
    notes = []
    if owner is not None:
        notes.append(
            f"port {port} is taken by a process of yours now{facts.port_process}: "
            "end it before you start the server anew"
        )
    first, last = ports.passing
    if first <= port <= last:
        notes.append(
            f"port {port} is one that the kernel of {node} hands out to connections ({first} to {last}), "
            "and may be taken at a start: one outside is safer"
        )
    return port, notes


def _free(facts: Facts, first: int = _USUAL.start) -> int:
    """The first free port from `first` on that no kernel hands out by itself."""
    low, high = facts.ports.passing
    candidates: list[int] = [*range(max(first, 1024), 65536), *_USUAL]
    return next((p for p in candidates if p not in facts.ports.taken and not low <= p <= high), first)
