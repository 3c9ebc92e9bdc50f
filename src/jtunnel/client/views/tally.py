"""The tunnels counted out, for those who have room for a few words. Pure; how they are said is `bars`'."""

from __future__ import annotations

from jtunnel.client.terminal import printable
from jtunnel.client.views import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from jtunnel.status import StatusDocument, TunnelStatus

#: What `{NAME}` in a template of one's own may be.
FIELDS: Final = (
    "up",
    "wanted",
    "total",
    "down",
    "connecting",
    "retrying",
    "blocked",
    "on_demand",
    "held",
    "state",
    "troubled",
    "problem",
)


class Tally:
    """What a bar shows, counted out; without a document, `problem` says why there is none."""

    def __init__(self, document: StatusDocument | None, problem: str = "") -> None:
        self.tunnels: list[TunnelStatus] = document["tunnels"] if document else []
        #: Those that should be up and are not, the ones that need a person first.
        self.troubled = sorted(
            (each for each in self.tunnels if each["state"] not in ("up", "down")),
            key=lambda tunnel: tunnel["state"] != "blocked",
        )
        self.up = self._count("up")
        self.wanted = self.up + len(self.troubled)
        self.problem = problem or self._first_problem(document)
        self.word = self._word() if document else "off"

    @property
    def share(self) -> str:
        """`2/3`: so many of those that should be up are; without a daemon, `off`."""
        return f"{self.up}/{self.wanted}" if self.word != "off" else "off"

    def fields(self) -> dict[str, Any]:
        """The values behind FIELDS."""
        values: list[Any] = [
            self.up,
            self.wanted,
            len(self.tunnels),
            self._count("down"),
            self._count("connecting", "starting", "queued"),
            self._count("retrying"),
            self._count("blocked"),
            sum(map(render.is_at_rest, self.tunnels)),
            sum(map(render.held, self.tunnels)),
            self.word,
            ", ".join(f"{tunnel['name']} {tunnel['state']}" for tunnel in self.troubled),
            printable(self.problem),
        ]
        return dict(zip(FIELDS, values, strict=True))

    def _count(self, *states: str) -> int:
        return sum(tunnel["state"] in states for tunnel in self.tunnels)

    def _first_problem(self, document: StatusDocument | None) -> str:
        problems = [render.problem_text(each["problem"]) for each in self.troubled if each["problem"]]
        config = document["daemon"]["config_problem"] if document else None
        return [*problems, render.problem_text(config) if config else ""][0]

    def _word(self) -> str:
        for state in ("blocked", "retrying"):
            if self._count(state):
                return state
        if self.troubled:
            return "connecting"
        return "up" if self.up else "idle"
