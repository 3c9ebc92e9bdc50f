"""Whether to go on with a host whose key is not in known_hosts: a person decides, or nobody does."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import asyncssh

from jtunnel.errors import LinkError
from jtunnel.ssh import failures, host_keys
from jtunnel.ssh.destination import Resolved
from jtunnel.ssh.prompts import Desk, Question

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ShownKey:
    """The key that a host showed; `host` is the name that known_hosts is asked for."""

    host: str
    address: str
    port: int
    key: asyncssh.SSHKey


async def judge_host(
    resolved: Resolved,
    known: asyncssh.SSHKnownHosts,
    shown_key: ShownKey | None,
    accepted: asyncssh.SSHKey | None,
    desk: Desk,
    error: asyncssh.HostKeyNotVerifiable,
) -> asyncssh.SSHKey:
    """Return the untrusted key after a person's `yes`, and remember it; else raise LinkError.

    `accepted` is the key that the person has said `yes` to already; another one is a changed one.
    """
    where = resolved.address
    if shown_key is None:
        raise LinkError(
            "host-key-changed",
            f"the host certificate or key of {where} is not trusted: {failures.quote(error.reason)}",
            "ask the host's administrator; nothing was sent to it",
        )
    host, address, port, key = shown_key.host, shown_key.address, shown_key.port, shown_key.key
    verdict = host_keys.judge(known, host, address, port, key)
    shown = f"{host_keys.type_name(key)} key {host_keys.fingerprint(key)}"
    name = host_keys.host_name(host, port)
    if verdict != "unknown" or accepted is not None:
        what = "is revoked in known_hosts" if verdict == "revoked" else "is not the one in known_hosts"
        raise LinkError(
            "host-key-changed",
            f"the {shown} of {where} {what}: somebody may be in between",
            f"if the change is known to be right: ssh-keygen -R '{name}', then bring the tunnel up again",
        )
    if (asker := desk.asker) is None:
        raise LinkError(
            "host-key-unknown",
            f"{where} is not in known_hosts; it shows the {shown}",
            "bring the tunnel up in a terminal, compare the fingerprint and answer yes",
        )
    answer = await asker(
        Question(
            "host-key",
            f"The authenticity of host '{name} ({address or host})' can't be established.\n"
            f"{host_keys.type_name(key)} key fingerprint is {host_keys.fingerprint(key)}.\n"
            "Are you sure you want to continue connecting (yes/no)? ",
            echo=True,
        )
    )
    if answer is None or answer.strip().lower() != "yes":
        raise LinkError(
            "host-key-unknown",
            f"the {shown} of {where} was not accepted",
            "bring the tunnel up to be asked again",
        )
    await _remember(resolved, host, port, key)
    return key


async def _remember(resolved: Resolved, host: str, port: int, key: asyncssh.SSHKey) -> None:
    if not resolved.user_known_hosts:
        return
    path = resolved.user_known_hosts[0]
    try:
        await asyncio.to_thread(host_keys.remember, path, host, port, key, hashed=False)
    except OSError as error:
        # As ssh(1): the connection goes on, and the question comes again next time.
        _log.warning("cannot write the host key to %s: %s", path, error.strerror)
    else:
        _log.info("added the host key of %s to %s", host_keys.host_name(host, port), path)
