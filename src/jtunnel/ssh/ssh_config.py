"""Reading ssh_config(5) for one host, by asyncssh, into the options of a connection of ours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import asyncssh

from jtunnel import paths
from jtunnel.errors import LinkError
from jtunnel.ssh.agent import NO_AGENT, VARIABLE
from jtunnel.ssh.destination import Destination

_SYSTEM_CONFIG: Final = "/etc/ssh/ssh_config"
#: AES-GCM before the defaults: what asyncssh moves fastest, and most processors have it in hardware.
_CIPHERS: Final = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"


def load_options(destination: Destination, environ: Mapping[str, str]) -> asyncssh.SSHClientConnectionOptions:
    """The options for a destination; raises LinkError `host-unreachable` where they cannot be read.

    Runs the commands of `Match exec`, without a limit of its own.
    """
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


def identity_agent(config: asyncssh.config.SSHConfig, environ: Mapping[str, str]) -> str | None:
    """IdentityAgent of ssh_config(5): a path, NO_AGENT, VARIABLE; None where nothing is said of it."""
    configured = config.get("IdentityAgent", ())
    if configured is None:  # what asyncssh makes of `none`
        return NO_AGENT
    if not isinstance(configured, str):
        return None
    if configured in (VARIABLE, f"${VARIABLE}", f"${{{VARIABLE}}}"):
        return VARIABLE
    if configured.startswith("$"):
        return environ.get(configured[1:].strip("{}")) or NO_AGENT
    return paths.expand(configured, environ)
