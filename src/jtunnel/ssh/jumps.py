"""Jump hosts: the way to a destination as ProxyJump in ssh_config(5), or the profile, has it."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import asyncssh

from jtunnel.errors import LinkError
from jtunnel.ssh.destination import Destination


def jump_destination(
    destination: Destination, options: asyncssh.SSHClientConnectionOptions
) -> Destination | None:
    """The nearest jump host; those before it hang on its own `jump`."""
    hops: tuple[str, ...]
    if destination.jump is not None:
        hops = destination.jump
    else:
        text = cast("str | None", options.config.get("ProxyJump"))
        hops = tuple(text.split(",")) if text and text.lower() != "none" else ()
        # ssh(1) does not jump over a host to reach itself: `Host *` with a ProxyJump is common.
        if len(hops) == 1 and _parse_hop(hops[0])[1] in (destination.host, options.host):
            return None
    nearest: Destination | None = None
    for index, hop in enumerate(hops):
        user, host, port = _parse_hop(hop)
        before = None if index == 0 else tuple(hops[:index])
        nearest = replace(destination, host=host, user=user, port=port, jump=before)
    return nearest


def _parse_hop(hop: str) -> tuple[str | None, str, int | None]:
    """`[user@]host[:port]`, also as `ssh://…`, as in ssh_config(5) under ProxyJump."""
    text = hop.strip().removeprefix("ssh://").rstrip("/")
    user, _, rest = text.rpartition("@")
    host, port = rest, ""
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        port = tail.removeprefix(":")
    elif rest.count(":") == 1:
        host, _, port = rest.partition(":")
    if not host or (port and not port.isdecimal()):
        raise LinkError(
            "host-unreachable", f"{hop!r} is no jump host", "write it as user@host:port, as in ssh_config(5)"
        )
    return user or None, host, int(port) if port else None
