"""The network of this machine as it was when last looked at, and what each look finds changed."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from jtunnel.machine.difference import Difference, compare
from jtunnel.machine.path import Path, find_path, interface_flags, is_running
from jtunnel.machine.snapshot import Snapshot, read_addresses, take_snapshot

_log = logging.getLogger(__name__)


class Network:
    """Compares each look with the one before; the first finds nothing."""

    def __init__(self) -> None:
        self._snapshot = Snapshot()
        self._complained = False

    def look(self) -> Difference:
        """Take a snapshot; return what has changed since the last."""
        before = self._snapshot
        after = take_snapshot()
        if after.addresses is None and not self._complained:
            self._complained = True
            _log.info("the addresses of this machine cannot be read; only its way out is watched")
        self._snapshot = after.completed(before)
        return compare(before, after)

    def path_to(self, peer: str) -> Path | None:
        """How packets to that IP address would leave now; None: no route, or no carrier."""
        return find_path(peer, self._owners)

    def _owners(self, ip: str) -> Iterable[str]:
        """The interfaces that have an address; read anew where the last look does not know a running one."""
        known = self._snapshot.owners.get(ip, ())
        if any(is_running(interface_flags(name)) for name in known):
            return known
        owners, _wires = read_addresses()
        return known if owners is None else owners.get(ip, ())
