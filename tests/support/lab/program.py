"""jtunnel on the lab's laptop, and the story of a tunnel as somebody saw it who watched all the time."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import psutil

from jtunnel.status import State, TunnelStatus
from tests.support.client import Jtunnel
from tests.support.home import Home
from tests.support.lab.namespace import Namespace
from tests.support.pseudo_terminal import PseudoTerminal

#: Longer than any test.
_WATCH_TIMEOUT_S = 3600.0
_JOIN_TIMEOUT_S = 5.0


class LabJtunnel(Jtunnel):
    """The installed jtunnel; its commands run in a namespace, and so does the daemon that they start."""

    def __init__(self, home: Home, namespace: Namespace) -> None:
        super().__init__(home)
        self._namespace = namespace

    def run(self, *words: str, timeout: float = 60.0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """See `Jtunnel.run`."""
        run = super().run
        return self._namespace.call(lambda: run(*words, timeout=timeout, stdin=stdin))

    def spawn(self, *words: str) -> PseudoTerminal:
        """See `Jtunnel.spawn`."""
        spawn = super().spawn
        return self._namespace.call(lambda: spawn(*words))

    def process(self) -> psutil.Process:
        """The daemon's process."""
        pid = self.daemon_pid()
        assert pid is not None, "no daemon runs"
        return psutil.Process(pid)


class Story:
    """Every status of one tunnel since this began, each with the time when it was told.

    A context manager; the daemon runs when it begins.
    """

    def __init__(self, jtunnel: Jtunnel, name: str) -> None:
        self.told: list[tuple[float, TunnelStatus]] = []
        self._jtunnel = jtunnel
        self._name = name
        self._stop = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._watch, name="story", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self.wait_for(lambda _: True, 10.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # It ends with the daemon, which the test ends after this.
        self._stop = True

    @property
    def now(self) -> TunnelStatus:
        """The latest that was told."""
        with self._news:
            return self.told[-1][1]

    def since(self, time_: float) -> list[tuple[float, TunnelStatus]]:
        """What held at that time (`time.monotonic`), and all that was told since."""
        with self._news:
            first = max((i for i, (at, _) in enumerate(self.told) if at <= time_), default=0)
            return self.told[first:]

    def states(self, since: float = 0.0) -> list[State]:
        """The states since then, each only when it changed."""
        states: list[State] = []
        for _, tunnel in self.since(since):
            if not states or states[-1] != tunnel["state"]:
                states.append(tunnel["state"])
        return states

    def wait_for(
        self, predicate: Callable[[TunnelStatus], bool], timeout_s: float, since: float | None = None
    ) -> float | None:
        """Block until a status told after `since` (any) satisfies it; when that was, or None."""

        def found() -> float | None:
            return next(
                (at for at, tunnel in self.told if (since is None or at >= since) and predicate(tunnel)), None
            )

        with self._news:
            self._news.wait_for(lambda: found() is not None, timeout_s)
            return found()

    def _watch(self) -> None:
        try:
            for document in self._jtunnel.snapshots(_WATCH_TIMEOUT_S):
                told_at = time.monotonic()
                (tunnel,) = [entry for entry in document["tunnels"] if entry["name"] == self._name]
                with self._news:
                    self.told.append((told_at, tunnel))
                    self._news.notify_all()
                if self._stop:
                    return
        except OSError:
            return  # the daemon has ended
