"""From a profile's words to an effective destination, and whether two of these may share a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from jtunnel import paths
from jtunnel.errors import LinkError
from jtunnel.ssh.destination import Destination, Resolved
from jtunnel.ssh.jumps import jump_destination
from jtunnel.ssh.own_thread import OwnThreads, run_in_own_thread
from jtunnel.ssh.ssh_config import identity_agent, load_options

#: Seconds for reading ssh_config; `Match exec` runs commands of the user's there.
RESOLVE_TIMEOUT_S: Final = 10.0
#: More hops than anybody has; a longer chain is a loop.
_MAX_JUMPS: Final = 8
_SYSTEM_KNOWN_HOSTS: Final = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
#: Options of ssh_config that are compared by their effect, or have none on a connection of ours.
_NOT_COMPARED: Final = frozenset(
    (
        "Hostname",
        "User",
        "Port",
        "ProxyJump",
        "UserKnownHostsFile",
        "GlobalKnownHostsFile",
        "IdentityFile",
        "IdentityAgent",
        "Tag",
        "RequestTTY",
        "RemoteCommand",
        "SendEnv",
        "SetEnv",
        "ForwardAgent",
        "ForwardX11Trusted",
        "Compression",
        "ServerAliveInterval",
        "ServerAliveCountMax",
        "ConnectTimeout",
    )
)


async def resolve(
    destination: Destination, environ: Mapping[str, str], threads: OwnThreads | None = None
) -> Resolved:
    """Read ssh_config(5) for a destination and its jump hosts.

    Reads files and may run `Match exec` commands, in a thread and within RESOLVE_TIMEOUT_S; `threads`,
    of that limit, bounds how many of them hang. Raises LinkError `host-unreachable` where the
    configuration cannot be read.
    """
    reading = partial(_resolve, destination, environ, ())
    try:
        if threads is not None:
            return await threads.ask(destination, reading)
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            return await run_in_own_thread(reading)
    except TimeoutError:
        raise LinkError(
            "host-unreachable",
            f"reading ssh_config for {destination.host} took longer than {RESOLVE_TIMEOUT_S:.0f} s",
            "look for a slow `Match exec` in it",
        ) from None


def _resolve(destination: Destination, environ: Mapping[str, str], seen: tuple[str, ...]) -> Resolved:
    if destination.host in seen or len(seen) > _MAX_JUMPS:
        raise LinkError(
            "host-unreachable",
            f"the jump hosts form a loop: {' > '.join((*seen, destination.host))}",
            "mend ProxyJump in ssh_config, or jump in the profile",
        )
    options = load_options(destination, environ)
    jump = jump_destination(destination, options)
    via: tuple[str, ...] = ()
    jump_key: tuple[object, ...] = ()
    if jump is not None:
        inner = _resolve(jump, environ, (*seen, destination.host))
        via, jump_key = (*inner.via, inner.alias), inner.key
    config = options.config
    identities = _unique(
        paths.expand(path, environ)
        for path in (*destination.identity_files, *_strings(config.get("IdentityFile")))
    )
    known = destination.known_hosts or _strings(config.get("UserKnownHostsFile"))
    if not known and config.get("UserKnownHostsFile") is None:
        known = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
    global_known = _strings(config.get("GlobalKnownHostsFile", _SYSTEM_KNOWN_HOSTS))
    resolved = Resolved(
        alias=destination.host,
        host=options.host,
        user=options.username,
        port=options.port,
        jump=jump,
        via=via,
        identity_files=identities,
        user_known_hosts=tuple(paths.expand(path, environ) for path in known),
        global_known_hosts=global_known,
        identity_agent=identity_agent(config, environ),
        key=(),
        options=options,
    )
    return replace(resolved, key=_sharing_key(destination, resolved, jump_key))


def _sharing_key(
    destination: Destination, resolved: Resolved, jump_key: tuple[object, ...]
) -> tuple[object, ...]:
    options = resolved.options.config.get_options(False)
    compared = sorted((name, repr(value)) for name, value in options.items() if name not in _NOT_COMPARED)
    return (
        resolved.host,
        resolved.user,
        resolved.port,
        jump_key,
        resolved.identity_files,
        resolved.user_known_hosts,
        resolved.global_known_hosts,
        # As it was named: which agent that is may change from one login to the next.
        resolved.identity_agent,
        destination.keepalive_interval_s,
        destination.keepalive_count,
        tuple(compared),
    )


def _strings(value: object) -> tuple[str, ...]:
    if isinstance(value, (list, tuple)):
        return tuple(str(item) for item in value)
    return ()


def _unique(items: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
