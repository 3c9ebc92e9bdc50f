"""What a login service is, whoever provides it. Types only."""

from __future__ import annotations

from typing import Protocol


class LoginService(Protocol):
    """What systemd and launchd have in common. Each call raises ControlError where the manager refuses."""

    @property
    def name(self) -> str:
        """What it is called in a sentence."""

    @property
    def logs(self) -> str:
        """The command that shows why it does not start."""

    @property
    def absent(self) -> str:
        """Why there is no such manager on this machine, and what to do instead; empty where there is one."""

    file: str
    reachable: bool

    def content(self, program: str) -> str:
        """What its file should hold."""

    def load(self) -> None:
        """Have the manager read the changed file."""

    def enable(self) -> None:
        """Have it started at login."""

    def is_enabled(self) -> bool:
        """Whether it is started at login."""

    def pid(self) -> int | None:
        """Its process."""

    def restart(self) -> None:
        """End it if it runs, and start it."""

    def remove(self) -> None:
        """Stop it, and leave nothing of it."""
