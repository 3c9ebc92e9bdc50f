"""Checks the words for where SSH goes: host names, and jump hosts as ProxyJump writes them.

Nothing is looked up: whether a host exists is found out when its link is dialled.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

#: What OpenSSH refuses in a host name of the command line too (`valid_hostname` in ssh.c, 9.6):
#: with `%h` in a ProxyCommand such a character would reach a shell. Brackets, @ and / separate.
_HOST: Final = re.compile(r"""(?!-)[^\s\x00-\x1f\x7f'"`$\\;&<>|(){},@/\[\]]+""")
_USER: Final = re.compile(r"""(?!-)[^\s\x00-\x1f\x7f'"`;&<>|(){},@:]+""")
_HOST_PORT: Final = re.compile(r"([^:]+):([0-9]{1,5})", re.ASCII)
_HOP: Final = re.compile(r"(?:([^@]*)@)?(?:\[([^\]]*)\]|([^:]*))(?::([0-9]{1,5}))?", re.ASCII)


def check_host(host: str) -> str:
    """Return a profile's host as it is; raise ValueError, saying how to write it where that is clear."""
    user, separator, rest = host.rpartition("@")
    if separator and _USER.fullmatch(user) and _is_host(rest):
        raise ValueError(f'write the user as user = "{user}"')
    if match := _HOST_PORT.fullmatch(host):
        raise ValueError(f"write the port as port = {int(match[2])}")
    if host.startswith("[") and host.endswith("]"):
        raise ValueError("write an IPv6 address without brackets")
    if not _is_host(host):
        raise ValueError("")
    return host


def parse_jump(value: str | Sequence[str]) -> tuple[str, ...]:
    """Split ProxyJump's `a,user@b:2222`, or take a list of such hops; the text `none` gives ().

    Raises ValueError where a hop is none.
    """
    if isinstance(value, str):
        if value.lower() == "none":
            return ()
        value = value.split(",")
    return tuple(check_hop(hop) for hop in value)


def check_hop(text: str) -> str:
    """Return one jump host without blanks and `ssh://`; raise ValueError where it is none."""
    hop = text.strip().removeprefix("ssh://").removesuffix("/")
    match = _HOP.fullmatch(hop)
    if match is not None and hop.lower() != "none":
        user, bracketed, host, port = match.groups()
        if (
            _is_host(bracketed or host or "")
            and (user is None or _USER.fullmatch(user))
            and (port is None or 1 <= int(port) <= 65535)
        ):
            return hop
    raise ValueError("")


def _is_host(text: str) -> bool:
    if ":" in text:
        try:
            ipaddress.IPv6Address(text)
        except ValueError:
            return False
    return _HOST.fullmatch(text) is not None
