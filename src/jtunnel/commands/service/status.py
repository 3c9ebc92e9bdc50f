"""`jtunnel service status`: whether the login service is there and runs, and what it sees of the session."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

import psutil

from jtunnel.client.login_service import PLACES
from jtunnel.client.terminal import put
from jtunnel.commands.service.program import find_daemon
from jtunnel.commands.service.renewal import Running, find_running
from jtunnel.commands.service.systemd import lingers
from jtunnel.errors import EXIT_DONE, EXIT_FAILED, EXIT_NO_DAEMON, ControlError
from jtunnel.ssh.agent import find_agent

if TYPE_CHECKING:
    from jtunnel.commands.service.manager import LoginService

_LINGERS: Final = "yes, it runs from boot on, and goes on after the last logout"
_ENDS: Final = "no, it ends with the last logout; to keep it: loginctl enable-linger"
#: For so long the time of the day alone is clear.
_TODAY_S: Final = 20 * 3600


def show_status(
    environ: Mapping[str, str], service: LoginService, content: str | None, called_as: str
) -> int:
    """Print a line for each question; 0 where all is well, 3 where only the daemon is missing, else 1.

    `content` is what the service's file holds, None without one; `called_as`, how this command was called.
    """
    enabled, running, mute = service.is_enabled(), None, None
    try:
        running = find_running(environ)
    except ControlError as error:
        mute = f"{error.message}; renew it with: jtunnel service restart"
    put(f"installed  {_installed(environ, service, content, called_as)}")
    put(f"enabled    {_enabled(service) if enabled else 'no'}")
    put(f"running    {mute or _running(service, running, is_installed=content is not None)}")
    if sys.platform == "linux" and not service.absent:
        put(f"linger     {_LINGERS if lingers() else _ENDS}")
    put(f"ssh agent  {_agent(environ, running)}")
    if content is None or not enabled or mute:
        return EXIT_FAILED
    return EXIT_DONE if running else EXIT_NO_DAEMON


def _enabled(service: LoginService) -> str:
    return f"yes, but {service.absent}" if service.absent else "yes, it starts at login"


def _installed(environ: Mapping[str, str], service: LoginService, content: str | None, called_as: str) -> str:
    if content is None:
        return "no; install it with: jtunnel service install"
    try:
        ours = service.content(find_daemon(environ, called_as))
    except ControlError:
        # This very jtunnel could not be installed; that says nothing of the one that is.
        ours = content
    if ours == content:
        return f"yes, {service.file}"
    if others := [name for name in PLACES if (name in content) != (name in ours)]:
        return f"yes, {service.file}, for another {', '.join(others)} than this terminal's"
    return f"{service.file} differs from what this jtunnel writes; renew it with: jtunnel service install"


def _running(service: LoginService, running: Running | None, *, is_installed: bool) -> str:
    if running is None:
        if not is_installed or not service.reachable:
            return "no; start it with: jtunnel up"
        return f"no; start it with: jtunnel service restart; why it ended: {service.logs}"
    starter = "by the service"
    if service.pid() != running.pid:
        handing_over = "; hand it over with: jtunnel service restart"
        starter = "by hand" + handing_over * (is_installed and service.reachable)
    since = ""
    if running.document:
        began = datetime.fromisoformat(running.document["daemon"]["started_at"]).astimezone()
        since = f" since {began:{'%H:%M' if time.time() - began.timestamp() < _TODAY_S else '%d %b %H:%M'}}"
    return f"yes, pid {running.pid}{since}, jtunnel {running.version}, started {starter}"


def _agent(environ: Mapping[str, str], running: Running | None) -> str:
    """What a daemon that runs sees, or one that the service would start now."""
    manager = {"linux": "systemd", "darwin": "launchd"}.get(sys.platform, "")
    seen_from = {name: value for name, value in environ.items() if name != "SSH_AUTH_SOCK"}
    seen_from["JTUNNEL_SERVICE"] = manager
    if running:
        try:
            seen_from = psutil.Process(running.pid).environ()
        except psutil.Error:
            return f"not known: the environment of pid {running.pid} cannot be read"
    agent = asyncio.run(find_agent(seen_from))
    if agent is None:
        return "none is visible (one is needed only for keys that have a passphrase or are in it alone)"
    if not agent.keys:
        return f"{agent.path} lists no keys; add one with: ssh-add"
    return f"{agent.path} ({agent.keys} key{'' if agent.keys == 1 else 's'})"
