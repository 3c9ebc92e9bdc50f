"""Host keys: who is trusted, what a key that is not means, and how a new one is remembered.

Strict always: nothing is accepted without a person's `yes`, and a changed key is never overwritten.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import os
from collections.abc import Iterable
from typing import Literal

import asyncssh
from asyncssh.public_key import get_default_certificate_algs, get_default_public_key_algs

_log = logging.getLogger(__name__)


def load_known_hosts(files: Iterable[str]) -> asyncssh.SSHKnownHosts:
    """Read known_hosts files (sshd(8)); lines that are no entry are passed over, as in ssh(1)."""
    known = asyncssh.SSHKnownHosts()
    for path in files:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        for number, line in enumerate(lines, 1):
            try:
                known.load(line)
            except ValueError:
                _log.info("%s line %d is no known_hosts entry", path, number)
    return known


def judge(
    known: asyncssh.SSHKnownHosts, host: str, address: str, port: int, key: asyncssh.SSHKey
) -> Literal["unknown", "changed", "revoked"]:
    """What an untrusted key means; a host whose known keys are of other types only has changed too.

    A host that still has a known key shows that one, since `order_algorithms` asks for it first.
    """
    trusted, _, revoked, *_ = known.match(host, address, port)
    if key in revoked:
        return "revoked"
    return "changed" if trusted else "unknown"


def order_algorithms(known: asyncssh.SSHKnownHosts, host: str, port: int) -> list[str]:
    """The signature algorithms to accept host keys with: those of the known keys first, then all others."""
    trusted, authorities, *_ = known.match(host, "", port)
    first = [algorithm for key in trusted for algorithm in key.sig_algorithms]
    certificates = list(get_default_certificate_algs())
    plain = list(get_default_public_key_algs())
    ordered = [*certificates, *first, *plain] if authorities else [*first, *plain, *certificates]
    allowed = {*certificates, *plain}
    return [name.decode() for name in dict.fromkeys(ordered) if name in allowed]


def fingerprint(key: asyncssh.SSHKey) -> str:
    """The key's SHA-256 fingerprint as ssh-keygen(1) prints it."""
    return key.get_fingerprint("sha256")


def type_name(key: asyncssh.SSHKey) -> str:
    """The key's type as ssh(1) names it in questions: ED25519, ECDSA, RSA."""
    return key.get_algorithm().removeprefix("sk-").removeprefix("ssh-").partition("-")[0].upper()


def host_name(host: str, port: int) -> str:
    """How known_hosts names a host: `[host]:port` where the port is not 22."""
    return host if port == 22 else f"[{host}]:{port}"


def remember(path: str, host: str, port: int, key: asyncssh.SSHKey, *, hashed: bool) -> None:
    """Append a host key to a known_hosts file as ssh(1) does; raises OSError.

    A new directory gets 0700, a new file 0600. The name is hashed where `hashed`, or where the
    file's other names are.
    """
    directory = os.path.dirname(path)
    if directory and not os.path.isdir(directory):
        os.makedirs(directory, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        content = file.read()
        name = host_name(host, port)
        if hashed or content.startswith(b"|1|"):
            name = _hash_name(name)
        line = f"{name} {key.export_public_key('openssh').decode().split(' ')[0]} {_body(key)}\n"
        gap = b"\n" if content and not content.endswith(b"\n") else b""
        file.write(gap + line.encode())


def _body(key: asyncssh.SSHKey) -> str:
    return base64.b64encode(key.public_data).decode()


def _hash_name(name: str) -> str:
    """`|1|salt|HMAC-SHA1(salt, name)`, as HashKnownHosts in ssh_config(5) has it."""
    salt = os.urandom(20)
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
