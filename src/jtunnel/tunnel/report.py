"""What a tunnel looks like from outside: its part of the status document. Reads, never changes."""

from __future__ import annotations

from datetime import datetime

from jtunnel.errors import JTunnelError
from jtunnel.link import phase as link
from jtunnel.status import ForwardStatus, JupyterStatus, Problem, ServiceStatus, TunnelStatus
from jtunnel.tunnel.life import Tunnel
from jtunnel.tunnel.parts import Part


def report_tunnel(tunnel: Tunnel, *, wanted: bool) -> TunnelStatus:
    """One tunnel as `jtunnel status --json` shows it."""
    profile, used = tunnel.profile, tunnel.link
    phase = used.phase if used else None
    resolved = used.resolved if used else None
    state, error = tunnel.state
    connection = tunnel.connection
    retry_at = phase.retry_at if isinstance(phase, link.Waiting | link.Suspected) else None
    if state == "retrying" and isinstance(phase, link.Serving):
        retry_at = tunnel.forwards.retry_at
    latency_s = connection.latency_s if connection else None
    return {
        "name": profile.name,
        "state": state,
        "since": format_time(tunnel.news.since),
        "wanted": wanted,
        "autostart": profile.autostart,
        "tags": list(profile.tags),
        "alias": profile.host,
        "host": resolved.host if resolved else None,
        "user": resolved.user if resolved else profile.user,
        "port": resolved.port if resolved else profile.port,
        "via": list(resolved.via) if resolved else [],
        "attempt": phase.attempt if isinstance(phase, link.Waiting | link.Dialling | link.Suspected) else 0,
        "retry_at": None if retry_at is None else format_time(retry_at),
        "reconnects": tunnel.reconnects,
        "latency_ms": None if latency_s is None else round(latency_s * 1000, 1),
        "problem": _problem(error, profile.name),
        "forwards": [_forward(part, _target(tunnel, part)) for part in tunnel.forwards],
        "jupyter": _jupyter(tunnel) if profile.jupyter else None,
        "service": _service(tunnel) if profile.service else None,
    }


def format_time(time: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond, with Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def _problem(error: JTunnelError | None, name: str) -> Problem | None:
    if error is None:
        return None
    problem = error.problem
    if not problem["advice"]:
        problem["advice"] = f"it is tried again by itself; see `jtunnel logs {name}`"
    return problem


def _forward(part: Part, target: str | None) -> ForwardStatus:
    stats = part.stats
    return {
        "name": part.forward.name,
        "kind": part.forward.kind,
        "listen": str(part.address),
        "target": target,
        "listening": part.listening,
        "temporary": part.forward.temporary,
        "active": stats.active,
        "held": stats.held,
        "accepted": stats.accepted,
        "bytes_in": stats.bytes_in,
        "bytes_out": stats.bytes_out,
        "problem": part.problem,
    }


def _target(tunnel: Tunnel, part: Part) -> str | None:
    if part is tunnel.forwards.served:
        server = tunnel.server.current if tunnel.server else None
        return str(server.target) if server else None
    return str(part.forward.target) if part.forward.target else None


def _jupyter(tunnel: Tunnel) -> JupyterStatus | None:
    life = tunnel.server
    if life is None:
        return None
    server, answer = life.current, life.answer
    return {
        "state": life.state,
        "url": life.url(tunnel.server_port, token=False),
        "version": answer.version if answer else None,
        "pid": server.pid if server else None,
        "host": server.host if server else None,
        "target": str(server.target) if server else None,
        "root_dir": server.root_dir if server else None,
        "origin": server.origin if server else None,
        "kernels": answer.kernels if answer else None,
        "busy": answer.busy if answer else None,
        "last_activity": answer.last_activity if answer else None,
        "environment": (server.environment or None) if server else None,
        "log": server.log if server else None,
        "password": server.asks_password_only if server else False,
        "secure": server.secure if server else False,
        "job": None,
    }


def _service(tunnel: Tunnel) -> ServiceStatus | None:
    life = tunnel.server
    if life is None:
        return None
    server = life.current
    return {
        "state": life.state,
        "url": life.url(tunnel.server_port, token=False),
        "pid": (server.pid or None) if server else None,
        "host": server.host if server else None,
        "target": str(server.target) if server else None,
        "origin": server.origin if server else None,
        "log": server.log if server else None,
    }
