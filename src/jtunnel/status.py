"""The shape of `jtunnel status --json`: what is, as plain data. No I/O, no behaviour.

The daemon builds these dictionaries, the client prints them; the client imports this module for
type checking only, since `typing` costs it start-up time.
"""

from __future__ import annotations

from typing import Final, Literal, TypedDict

SCHEMA: Final = 1

State = Literal["down", "connecting", "starting", "queued", "up", "retrying", "blocked"]
JupyterState = Literal["searching", "starting", "queued", "ready", "not-answering", "gone"]
Origin = Literal["started", "adopted"]
ForwardKind = Literal["local", "remote", "dynamic"]
StartedBy = Literal["systemd", "launchd", "hand"]
Autostart = bool | Literal["on-demand"]


class Problem(TypedDict):
    """Why something does not work: a stable kind, a sentence, and the next thing to do."""

    kind: str
    message: str
    advice: str


class ForwardStatus(TypedDict):
    """One forward, `temporary` where `jtunnel forward` added it.

    `held` and `active` count connections; bytes are seen from this machine.
    """

    name: str
    kind: ForwardKind
    listen: str
    target: str | None
    listening: bool
    temporary: bool
    active: int
    held: int
    accepted: int
    bytes_in: int
    bytes_out: int
    problem: Problem | None


class JupyterStatus(TypedDict):
    """The remote server of a tunnel. `url` has no token; times are ISO 8601 in UTC.

    `busy` counts those of the `kernels` that are at work; `environment` is the directory of the Python
    environment, `log` the remote log. With `password`, it wants one, and nothing but its version can be
    asked; `secure` says that it speaks TLS. None stands for what is not known.
    """

    state: JupyterState
    url: str | None
    version: str | None
    pid: int | None
    host: str | None
    target: str | None
    root_dir: str | None
    origin: Origin | None
    kernels: int | None
    busy: int | None
    last_activity: str | None
    environment: str | None
    log: str | None
    password: bool
    secure: bool
    job: None


class ServiceStatus(TypedDict):
    """The remote server of a profile's service table; `url` is None where it has no pages."""

    state: JupyterState
    url: str | None
    pid: int | None
    host: str | None
    target: str | None
    origin: Origin | None
    log: str | None


class TunnelStatus(TypedDict):
    """One tunnel. `alias` is the profile's host, `host` what ssh_config(5) made of it."""

    name: str
    state: State
    since: str
    wanted: bool
    autostart: Autostart
    tags: list[str]
    alias: str
    host: str | None
    user: str | None
    port: int | None
    via: list[str]
    attempt: int
    retry_at: str | None
    reconnects: int
    latency_ms: float | None
    problem: Problem | None
    forwards: list[ForwardStatus]
    jupyter: JupyterStatus | None
    service: ServiceStatus | None


class DaemonStatus(TypedDict):
    """The daemon itself."""

    version: str
    pid: int
    started_at: str
    config_path: str
    config_problem: Problem | None
    started_by: StartedBy


class StatusDocument(TypedDict):
    """All of `jtunnel status --json`."""

    schema: int
    daemon: DaemonStatus
    tunnels: list[TunnelStatus]


class ServerListing(TypedDict):
    """One Jupyter server that runs for this user on a tunnel's host, as `jtunnel servers` shows it.

    `origin` says who started it; for "jtunnel", `profile` is for whom. `used_by` are the profiles whose
    records point at it (none: an orphan, if jtunnel started it); `used` says that this one's does.
    `problem` is why it cannot be used. None stands for what is not known. There is no token in it.
    """

    pid: int
    host: str
    version: str | None
    environment: str | None
    target: str | None
    root_dir: str | None
    started_at: str | None
    kernels: int | None
    busy: int | None
    last_activity: str | None
    origin: Literal["jtunnel", "other"]
    profile: str | None
    used_by: list[str]
    used: bool
    password: bool
    secure: bool
    problem: str | None


class ElsewhereListing(TypedDict):
    """A server that a profile has on another node that shares the home; whether it runs is not known here."""

    host: str
    profile: str
    pid: int
    target: str


class ServersDocument(TypedDict):
    """What `jtunnel servers NAME --json` prints."""

    name: str
    node: str
    servers: list[ServerListing]
    elsewhere: list[ElsewhereListing]
