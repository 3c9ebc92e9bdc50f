"""What the daemon keeps under a profile's name, renamed while no daemon runs."""

from __future__ import annotations

import os
from collections.abc import Mapping

from jtunnel import paths
from jtunnel.daemon.ports import Ports
from jtunnel.daemon.wanted import Wanted
from jtunnel.machine.boot import read_boot
from jtunnel.telling.history import History


def find_wanted(environ: Mapping[str, str]) -> Wanted:
    """What was asked for by hand, as a daemon has written it."""
    return Wanted(os.path.join(paths.state_dir(environ), "wanted.json"), read_boot())


def rename_in_state(environ: Mapping[str, str], name: str, to: str) -> None:
    """Let a profile's port, whether it is wanted, and its history follow its name."""
    state = paths.state_dir(environ)
    record = os.path.join(state, "history.jsonl")
    Ports(os.path.join(state, "ports.json")).rename(name, to)
    find_wanted(environ).rename(name, to)
    if os.path.exists(record):
        history = History(record)
        history.rename(name, to)
        history.close()
