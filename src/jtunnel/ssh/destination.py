"""Where a link goes: a profile's words, and what ssh_config(5) makes of them. No connection is made."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, cast

import asyncssh

from jtunnel import paths
from jtunnel.errors import LinkError

#: Seconds for reading ssh_config; `Match exec` runs commands of the user's there.
RESOLVE_TIMEOUT_S: Final = 10.0
#: More hops than anybody has; a longer chain is a loop.
_MAX_JUMPS: Final = 8
_SYSTEM_CONFIG: Final = "/etc/ssh/ssh_config"
_SYSTEM_KNOWN_HOSTS: Final = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
#: AES-GCM before the defaults: what asyncssh moves fastest, and most processors have it in hardware.
_CIPHERS: Final = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
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
    agent_path: str | None
    key: tuple[object, ...]
    options: asyncssh.SSHClientConnectionOptions = field(compare=False, repr=False)

    def option(self, name: str, default: object = None) -> Any:
        """One option as ssh_config(5) set it."""
        return self.options.config.get(name, default)

    @property
    def address(self) -> str:
        """The effective host and port, for messages."""
        return self.host if self.port == 22 else f"{self.host}:{self.port}"


async def resolve(destination: Destination, environ: Mapping[str, str]) -> Resolved:
    """Read ssh_config(5) for a destination and its jump hosts.

    Reads files and may run `Match exec` commands, in a thread and within RESOLVE_TIMEOUT_S.
    Raises LinkError `host-unreachable` where the configuration cannot be read.
    """
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            return await asyncio.to_thread(_resolve, destination, environ, ())
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
    options = _load_options(destination, environ)
    jump = _jump_destination(destination, options)
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
        agent_path=_agent_path(config.get("IdentityAgent"), environ),
        key=(),
        options=options,
    )
    return replace(resolved, key=_sharing_key(destination, resolved, jump_key))


def _load_options(
    destination: Destination, environ: Mapping[str, str]
) -> asyncssh.SSHClientConnectionOptions:
    given: dict[str, Any] = {}
    if destination.user is not None:
        given["username"] = destination.user
    if destination.port is not None:
        given["port"] = destination.port
    try:
        options = asyncssh.SSHClientConnectionOptions(
            host=destination.host,
            config=_config_files(destination, environ),
            # Keys are offered one at a time by our own code; see identities.py.
            client_keys=None,
            known_hosts=b"",
            login_timeout=0,
            connect_timeout=None,
            keepalive_interval=0,
            compression_algs=["none"],
            agent_forwarding=False,
            x11_forwarding=False,
            command=None,
            request_pty=False,
            **given,
        )
        if options.config.has_match_final():
            options.update(host=destination.host, reload=True, canonical=False, final=True)
        if options.config.get("Ciphers") is None:
            options.update(encryption_algs=_CIPHERS)
        return options
    except (asyncssh.ConfigParseError, ValueError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise LinkError(
            "host-unreachable",
            f"ssh_config cannot be used for {destination.host}: {reason}",
            "mend it; it is read again at the next try",
        ) from None


def _config_files(destination: Destination, environ: Mapping[str, str]) -> list[str]:
    if destination.ssh_config is False:
        return []
    user = paths.expand(destination.ssh_config or "~/.ssh/config", environ)
    if destination.ssh_config and not os.access(user, os.R_OK):
        raise LinkError("host-unreachable", f"cannot read {user}", "mend ssh_config in the profile")
    # As with `ssh -F`, a file that was named stands alone.
    files = [user] if destination.ssh_config else [user, _SYSTEM_CONFIG]
    return [path for path in files if os.access(path, os.R_OK)]


def _jump_destination(
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


def _agent_path(configured: object, environ: Mapping[str, str]) -> str | None:
    """IdentityAgent as ssh_config(5) has it: a path, `none`, `SSH_AUTH_SOCK` or `$NAME`."""
    if isinstance(configured, str) and configured != "SSH_AUTH_SOCK":
        if configured.lower() == "none":
            return None
        if configured.startswith("$"):
            return environ.get(configured[1:].strip("{}")) or None
        return paths.expand(configured, environ)
    return environ.get("SSH_AUTH_SOCK") or None


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
        resolved.agent_path,
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
