"""The notice board: what everything looks like now, for those who ask and those who watch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from jtunnel import __version__
from jtunnel.changes import Changes
from jtunnel.status import SCHEMA, Problem, StartedBy, StatusDocument, TunnelStatus
from jtunnel.tunnel.report import format_time


class Board:
    """Collects the status of all tunnels when somebody looks; `changes` counts what happened."""

    def __init__(self, pid: int, config_path: str, started_by: StartedBy) -> None:
        self.changes = Changes()
        self.config_problem: Problem | None = None
        self._pid = pid
        self._config_path = config_path
        self._started_by = started_by
        self._started_at = datetime.now(UTC)
        self._sources: dict[str, Callable[[], TunnelStatus]] = {}

    def post(self, sources: dict[str, Callable[[], TunnelStatus]]) -> None:
        """Show these tunnels from now on, in this order."""
        self._sources = sources
        self.changes.notify()

    def show(self, names: Iterable[str] | None = None) -> StatusDocument:
        """The status document; with `names`, of these tunnels only."""
        wanted = self._sources if names is None else names
        return {
            "schema": SCHEMA,
            "daemon": {
                "version": __version__,
                "pid": self._pid,
                "started_at": format_time(self._started_at),
                "config_path": self._config_path,
                "config_problem": self.config_problem,
                "started_by": self._started_by,
            },
            "tunnels": [self._sources[name]() for name in wanted if name in self._sources],
        }
