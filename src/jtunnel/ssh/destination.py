"""Where a link goes: a profile's words, and what ssh_config(5) made of them. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import asyncssh


@dataclass(frozen=True, slots=True)
class Destination:
    """What a profile says of its connection; None and () leave it to ssh_config(5)."""

    host: str
    user: str | None = None
    port: int | None = None
    identity_files: tuple[str, ...] = ()
    jump: tuple[str, ...] | None = None
    known_hosts: tuple[str, ...] = ()
    ssh_config: str | Literal[False] | None = None
    keepalive_interval_s: float = 5.0
    keepalive_count: int = 3


@dataclass(frozen=True, slots=True)
class Resolved:
    """A destination after ssh_config(5): the effective host, user and port, and all trust options.

    `key` is equal for two destinations exactly when one connection can serve both.
    """

    alias: str
    host: str
    user: str
    port: int
    jump: Destination | None
    via: tuple[str, ...]
    identity_files: tuple[str, ...]
    """Named by profile or ssh_config, in that order; empty where the defaults apply."""
    user_known_hosts: tuple[str, ...]
    global_known_hosts: tuple[str, ...]
    identity_agent: str | None
    """IdentityAgent, as `jtunnel.ssh.agent` takes it; None leaves the agent to be found at each login."""
    key: tuple[object, ...]
    options: asyncssh.SSHClientConnectionOptions = field(compare=False, repr=False)

    def option(self, name: str, default: object = None) -> Any:
        """One option as ssh_config(5) set it."""
        return self.options.config.get(name, default)

    @property
    def address(self) -> str:
        """The effective host and port, for messages."""
        return self.host if self.port == 22 else f"{self.host}:{self.port}"
