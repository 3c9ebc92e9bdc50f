"""What the user wants, as values: profiles and their forwards. No parsing, no I/O.

Field names and defaults are those of the config file; durations are in seconds (`_s`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jtunnel.address import Address
from jtunnel.status import Autostart, ForwardKind


@dataclass(frozen=True, slots=True)
class Forward:
    """One forward of a profile, as in ssh_config(5).

    `listen` is local for kinds local and dynamic, remote for kind remote. `target` is None for a
    dynamic forward.
    """

    name: str
    kind: ForwardKind
    listen: Address
    target: Address | None
    temporary: bool = field(default=False, compare=False)
    """Added by `jtunnel forward`, and not in the config."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What a server is started in: keys that the jupyter and service tables share.

    Of `python`, `conda_env` and `venv`, the first that is given counts. Paths are remote ones.
    """

    python: str | None = None
    """A Python interpreter."""
    conda_env: str | None = None
    """The name of a conda environment, or its directory."""
    venv: str | None = None
    """The directory of a virtual environment."""
    setup: tuple[str, ...] = ()
    """Lines for the account's login shell, before anything is looked for."""
    variables: tuple[tuple[str, str], ...] = ()
    """Environment variables, name and value; values are taken as they are."""


@dataclass(frozen=True, slots=True)
class JupyterOptions:
    """The `[profiles.NAME.jupyter]` table."""

    local_port: int | Literal["auto"] = 8888
    remote_port: int | None = None
    directory: str | None = None
    """The server's root directory on the remote; None stands for `~`, and takes any server there."""
    command: str = "jupyter lab"
    listen: Literal["auto", "socket", "tcp"] = "auto"
    start: Literal["if-absent", "never"] = "if-absent"
    launcher: Literal["nohup"] = "nohup"
    allow_root: bool = False
    environment: Environment = Environment()
    idle_stop_s: float = 0.0
    """Seconds without use after which a server that we started ends by itself; 0: never."""


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """The `[profiles.NAME.service]` table: a server of another kind than Jupyter.

    It listens on `port` of the remote's loopback, or on the Unix socket `socket`; with neither, on a free
    port. `{port}` and `{socket}` in `command` stand for them.
    """

    command: str | None = None
    """None only adopts."""
    port: int | None = None
    socket: str | None = None
    local_port: int | Literal["auto"] = "auto"
    ready: str = "tcp"
    """`tcp`, or the path of a page that answers with a status below 500 once it serves."""
    page: str | None = None
    """The path of its first page for a browser; None where it has no pages."""
    directory: str | None = None
    start: Literal["if-absent", "never"] = "if-absent"
    environment: Environment = Environment()

    @property
    def remote_port(self) -> int | None:
        """The same as `port`, as the jupyter table calls it."""
        return self.port


@dataclass(frozen=True, slots=True)
class Profile:
    """One `[profiles.NAME]` table, defaults applied and `~` expanded. Equal values need no restart."""

    name: str
    host: str
    user: str | None = None
    port: int | None = None
    identity_files: tuple[str, ...] = ()
    jump: tuple[str, ...] | None = None
    """`user@host:port` of each jump host, first to last; () for none; None as ssh_config(5) has it."""
    known_hosts: tuple[str, ...] = ()
    """Files in place of ssh_config's UserKnownHostsFile; new host keys go to the first."""
    ssh_config: str | Literal[False] | None = None
    """A file in place of `~/.ssh/config`; False reads none."""
    autostart: Autostart = False
    tags: tuple[str, ...] = ()
    share: bool = True
    keepalive_interval_s: float = 5.0
    keepalive_count: int = 3
    hold_s: float = 300.0
    waiting_page: bool = True
    idle_timeout_s: float = 600.0
    """How long an on-demand tunnel that nobody uses keeps its connection; 0: for ever."""
    gateway_ports: bool = False
    """Whether forwards may listen on other addresses than loopback (ssh_config(5), GatewayPorts)."""
    notify: bool = False
    """Whether the desktop is told of a blocked tunnel and of long outages."""
    on_up: tuple[str, ...] = ()
    """The command, as an argument list, that is run when the tunnel comes up; likewise the next two."""
    on_down: tuple[str, ...] = ()
    on_blocked: tuple[str, ...] = ()
    forwards: tuple[Forward, ...] = ()
    jupyter: JupyterOptions | None = None
    service: ServiceOptions | None = None
    """At most one of jupyter and service."""

    @property
    def has_pages(self) -> bool:
        """Whether its remote server has pages for a browser."""
        return self.jupyter is not None or (self.service is not None and self.service.page is not None)

    @property
    def served(self) -> tuple[Literal["jupyter", "service"], JupyterOptions | ServiceOptions] | None:
        """The remote server that it has, and by which table; None where it has forwards only."""
        if self.jupyter is not None:
            return "jupyter", self.jupyter
        return ("service", self.service) if self.service is not None else None


@dataclass(frozen=True, slots=True)
class Config:
    """A config file that was read: its path, and its profiles by name, in the file's order."""

    path: str
    profiles: Mapping[str, Profile]
    watch_config: bool = True
    """Whether the daemon reads the file again by itself once it has been edited."""
