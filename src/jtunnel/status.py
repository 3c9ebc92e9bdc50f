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
    """The remote server of a tunnel. `url` has no token; times are ISO 8601 in UTC."""

    state: JupyterState
    url: str | None
    version: str | None
    pid: int | None
    host: str | None
    target: str | None
    root_dir: str | None
    origin: Origin | None
    kernels: int | None
    last_activity: str | None
    job: None


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
