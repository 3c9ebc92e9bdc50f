"""What was asked for by hand, kept for the next daemon: a crash or an upgrade must not forget it.

`up` and `down` hold until the machine is started anew; then the config's `autostart` decides again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable

from jtunnel.daemon.files import replace_file

_log = logging.getLogger(__name__)


class Wanted:
    """The file that remembers which tunnels were brought up or taken down by hand since `boot`."""

    def __init__(self, path: str, boot: str) -> None:
        self._path = path
        self._boot = boot
        self._by_hand = self._read()

    def get(self, name: str) -> bool | None:
        """Whether a tunnel was last brought up or taken down; None where nobody said."""
        return self._by_hand.get(name)

    def note(self, names: Iterable[str], *, up: bool) -> None:
        """These were brought up, or taken down, by hand."""
        self._keep({**self._by_hand, **dict.fromkeys(names, up)})

    def forget(self, names: Iterable[str]) -> None:
        """There are no such profiles any more."""
        gone = set(names)
        self._keep({name: up for name, up in self._by_hand.items() if name not in gone})

    def rename(self, old: str, new: str) -> None:
        """A profile has another name."""
        self._keep({new if name == old else name: up for name, up in self._by_hand.items()})

    def _keep(self, by_hand: dict[str, bool]) -> None:
        if by_hand == self._by_hand:
            return
        self._by_hand = by_hand
        try:
            replace_file(self._path, json.dumps({"boot": self._boot, "tunnels": by_hand}, indent=1))
        except OSError as error:
            _log.warning("cannot write %s: %s; a restart will not know it", self._path, error.strerror)

    def _read(self) -> dict[str, bool]:
        try:
            with open(self._path, encoding="utf-8") as file:
                content = json.load(file)
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(content, dict) or content.get("boot") != self._boot:
            return {}
        tunnels = content.get("tunnels")
        if not isinstance(tunnels, dict):
            return {}
        return {str(name): up for name, up in tunnels.items() if isinstance(up, bool)}
