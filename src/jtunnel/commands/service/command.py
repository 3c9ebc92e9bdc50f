"""`jtunnel service`: puts the daemon under the login service of this system, takes it away, renews it.

What systemd and launchd want is `systemd`'s and `launchd`'s; what it shows, `status`'s.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from functools import partial

from jtunnel.client import login_service
from jtunnel.client.control import end_daemon
from jtunnel.client.launch import dial_or_start
from jtunnel.client.terminal import put_raw, say
from jtunnel.commands.service.launchd import Launchd
from jtunnel.commands.service.manager import LoginService
from jtunnel.commands.service.program import find_daemon, is_temporary
from jtunnel.commands.service.renewal import Running, find_running, renew
from jtunnel.commands.service.status import show_status
from jtunnel.commands.service.systemd import Systemd, find_systemctl
from jtunnel.errors import EXIT_DONE, ConfigError, ControlError


def run(environ: Mapping[str, str], *, action: str, prints: bool) -> int:
    """Carry out `jtunnel service ACTION` and return its exit code."""
    if prints and action != "install":
        raise ConfigError(
            "usage", f"--print does not go with {action}", "print with: jtunnel service install --print"
        )
    service = find_service(environ)
    if action == "restart":
        return _restart(environ, service)
    if service is None:
        raise ControlError(
            "daemon-failed",
            "this system has neither systemd nor launchd",
            "have your session's own start-up start jtunneld",
        )
    if action == "status":
        return show_status(environ, service, read_installed(service), sys.argv[0])
    if action == "uninstall":
        return _uninstall(environ, service)
    return _install(environ, service, prints=prints)


def find_service(environ: Mapping[str, str]) -> LoginService | None:
    """The login service of this system; None where it has none that jtunnel knows."""
    if sys.platform == "darwin":
        return Launchd(environ)
    return Systemd(environ) if find_systemctl(environ) else None


def read_installed(service: LoginService) -> str | None:
    """What its file holds; None without one."""
    try:
        with open(service.file, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _install(environ: Mapping[str, str], service: LoginService, *, prints: bool) -> int:
    program = find_daemon(environ, sys.argv[0])
    content = service.content(program)
    if prints:
        put_raw(content)
        return EXIT_DONE
    if is_temporary(program) and not is_temporary(service.file):
        say(f"warning: {program} is in a directory that is cleared by itself")
    before = read_installed(service)
    if before != content:
        _write(service.file, content)
        say(f"{'wrote' if before is None else 'renewed'} {service.file}")
    if before and (lost := [name for name in login_service.PLACES if name in before and name not in content]):
        say(f"it no longer has {', '.join(lost)}, which this terminal does not set; set it and install again")
    news = "was there already" if before == content and service.is_enabled() else "is installed"
    service.enable()
    if service.absent:
        say(f"{service.name} {news}, but {service.absent}")
        return EXIT_DONE
    if not service.reachable:
        say(f"{service.name} {news}; it starts at the next login, until then: jtunnel up")
        return EXIT_DONE
    code = _run_it(environ, service, changed=before != content)
    say(f"{service.name} {news} and runs (pid {service.pid()}); see: jtunnel service status")
    return code


def _run_it(environ: Mapping[str, str], service: LoginService, *, changed: bool) -> int:
    """Have the service look after the tunnels, whoever does so now."""
    own = service.pid()
    running = _find_unless_mute(environ, own)
    if running and running.pid == own and not changed:
        return EXIT_DONE

    def start() -> None:
        if running and running.pid != own:
            say(f"the daemon that was started by hand (pid {running.pid}) makes room for it")
            end_daemon(environ)
        if changed:
            service.load()
        service.restart()

    code = renew(environ, running, start)
    if service.pid() is None:
        raise ControlError("daemon-failed", f"{service.name} does not stay up", f"see: {service.logs}")
    return code


def _uninstall(environ: Mapping[str, str], service: LoginService) -> int:
    if read_installed(service) is None and not service.is_enabled():
        say(f"{service.name} is not installed; there is nothing to remove")
        return EXIT_DONE
    own = service.pid()
    running = _find_unless_mute(environ, own)
    service.remove()
    say(f"removed {service.file}")
    if own is not None:
        say(f"its daemon (pid {own}) has ended and its tunnels with it; start one by hand with: jtunnel up")
    elif running:
        say(f"the daemon (pid {running.pid}) was started by hand and goes on; end it with: jtunnel shutdown")
    return EXIT_DONE


def _restart(environ: Mapping[str, str], service: LoginService | None) -> int:
    own = service.pid() if service else None
    running = _find_unless_mute(environ, own)
    is_its = own is not None if running is None else running.pid == own
    if running is None and service and service.reachable:
        is_its = is_its or login_service.serves(environ)
    start = service.restart if service and is_its else partial(_replace, environ, running)
    code = renew(environ, running, start)
    new = find_running(environ)
    if new:
        by = "by the service" if service and service.pid() == new.pid else "by hand"
        if by == "by hand" and service and not service.reachable and login_service.serves(environ):
            by += f", since {'systemd does not run here' if service.absent else 'no user manager answers'}"
        say(f"the daemon is a new one: jtunnel {new.version}, pid {new.pid}, started {by}")
    return code


def _find_unless_mute(environ: Mapping[str, str], own: int | None) -> Running | None:
    """The daemon that runs; None also where the service's `own` is mute, which its manager can end."""
    try:
        return find_running(environ)
    except ControlError:
        if own is None:
            raise
        return None


def _replace(environ: Mapping[str, str], running: Running | None) -> None:
    """End a daemon started by hand, and start one for the same files, by their service if there is one."""
    if running is None:
        raise ControlError("no-daemon", "no daemon runs", "start it with: jtunnel up")
    theirs = running.environ(environ)
    end_daemon(environ)
    dial_or_start(theirs).close()


def _write(path: str, content: str) -> None:
    """The whole file or none of it, readable for all as systemd and launchd expect."""
    try:
        _replace_file(path, content)
    except OSError as error:
        why = (error.strerror or "").lower()
        advice = "for what belongs there: jtunnel service install --print"
        raise ControlError("daemon-failed", f"{path} cannot be written: {why}", advice) from None


def _replace_file(path: str, content: str) -> None:
    directory = os.path.dirname(path)
    os.makedirs(directory, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=directory, prefix=".jtunnel-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
