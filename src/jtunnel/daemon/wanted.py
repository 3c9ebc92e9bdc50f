"""What was asked for by hand, kept for the next daemon: a crash or an upgrade must not forget it.

`up` and `down` hold until the machine is started anew; then the config's `autostart` decides again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable

from jtunnel.daemon.files import replace_file

_log = logging.getLogger(__name__)


#: Of one forward that was added by hand: how it was written, its kind, its name.
Added = tuple[str, str, str]


class Wanted:
    """The file that remembers what was asked for by hand since `boot`: tunnels up or down, and forwards."""

    def __init__(self, path: str, boot: str) -> None:
        self._path = path
        self._boot = boot
        self._by_hand: dict[str, bool] = {}
        self.forwards: dict[str, list[Added]] = {}
        """The forwards of each profile that were added by hand."""
        self._read()

    def get(self, name: str) -> bool | None:
        """Whether a tunnel was last brought up or taken down; None where nobody said."""
        return self._by_hand.get(name)

    def note(self, names: Iterable[str], *, up: bool) -> None:
        """These were brought up, or taken down, by hand."""
        self._keep({**self._by_hand, **dict.fromkeys(names, up)}, self.forwards)

    def note_forwards(self, forwards: dict[str, list[Added]]) -> None:
        """These are all that were added by hand."""
        self._keep(self._by_hand, forwards)

    def forget(self, names: Iterable[str]) -> None:
        """There are no such profiles any more."""
        gone = set(names)
        self._keep({name: up for name, up in self._by_hand.items() if name not in gone}, self.forwards)

    def rename(self, old: str, new: str) -> None:
        """A profile has another name."""
        self._keep(
            {new if name == old else name: up for name, up in self._by_hand.items()},
            {new if name == old else name: added for name, added in self.forwards.items()},
        )

    def _keep(self, by_hand: dict[str, bool], forwards: dict[str, list[Added]]) -> None:
        if by_hand == self._by_hand and forwards == self.forwards:
            return
        self._by_hand, self.forwards = by_hand, forwards
        content = {"boot": self._boot, "tunnels": by_hand, "forwards": forwards}
        try:
            replace_file(self._path, json.dumps(content, indent=1))
        except OSError as error:
            _log.warning("cannot write %s: %s; a restart will not know it", self._path, error.strerror)

    def _read(self) -> None:
        try:
            with open(self._path, encoding="utf-8") as file:
                content = json.load(file)
        except (OSError, ValueError, RecursionError):
            return
        if not isinstance(content, dict) or content.get("boot") != self._boot:
            return
        tunnels, forwards = content.get("tunnels"), content.get("forwards")
        if isinstance(tunnels, dict):
            self._by_hand = {str(name): up for name, up in tunnels.items() if isinstance(up, bool)}
        if isinstance(forwards, dict):
            self.forwards = {
                str(name): [(each[0], each[1], each[2]) for each in added if _is_added(each)]
                for name, added in forwards.items()
                if isinstance(added, list)
            }


def _is_added(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(word, str) for word in value)
