"""The login service under a real systemd: people log in and out; the daemon is killed, frozen, misled."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from typing import Final

import pytest

from tests.support import login_machine
from tests.support.keys import make_key
from tests.support.login_machine.login import Login, Person, add_person
from tests.support.login_machine.machine import LoginMachine
from tests.support.login_machine.tunnel_user import ALIAS, NAME, UNIT, TunnelUser

pytestmark = [pytest.mark.root, pytest.mark.long]

FREEZE: Final = os.path.join(os.path.dirname(login_machine.__file__), "freeze.py")
FREEZE_TIMEOUT_S: Final = 20.0
#: A profile that does not start by itself.
BY_HAND: Final = f"""\
[profiles.hand]
host = "{ALIAS}"
"""
_numbers = count(1)


@pytest.fixture(scope="module")
def machine() -> Iterator[LoginMachine]:
    """A machine for all tests of this file."""
    with LoginMachine() as booted:
        yield booted


@pytest.fixture(scope="module")
def far(machine: LoginMachine) -> Person:
    """The account that all tunnels lead to."""
    return add_person(machine, "far")


@pytest.fixture
def user(machine: LoginMachine, far: Person) -> Iterator[TunnelUser]:
    """Somebody who has jtunnel and no service yet; nothing of theirs runs afterwards."""
    person = add_person(machine, f"user{next(_numbers)}")
    yield TunnelUser(person, far)
    machine.run("loginctl", "disable-linger", person.name)
    machine.try_run("loginctl", "terminate-user", person.name)
    person.wait_gone()


@pytest.fixture
def installed(user: TunnelUser) -> TunnelUser:
    """Somebody who has installed the service, and logged out again."""
    with Login(user.person) as login:
        user.run(login, "service", "install")
    user.person.wait_gone()
    return user


def daemon_pid(user: TunnelUser, login: Login) -> int:
    """The number that the daemon has in the machine."""
    return int(user.service(login)["MainPID"])


def wait_restarted(user: TunnelUser, login: Login, old_pid: int) -> None:
    """Block until systemd has started another daemon."""
    show = f"systemctl --user show --property=MainPID --value {UNIT}"
    login.wait_for(f'pid=$({show}); test "$pid" != 0 -a "$pid" != {old_pid}')
    login.wait_for(f"systemctl --user --quiet is-active {UNIT}")


def test_after_the_login_the_tunnel_is_up_by_itself(installed: TunnelUser) -> None:
    with Login(installed.person) as login:
        installed.wait_up(login)
        service = installed.service(login)
        assert service["ActiveState"] == "active"
        assert service["UnitFileState"] == "enabled"
        login.wait_for(f"systemctl --user status {UNIT} | grep -q 'Status: .*1 of 1 tunnel up'")
        # Not the file that it leads to, which the next version of jtunnel may have elsewhere.
        assert f"{installed.person.home}/.local/bin/jtunneld" in service["ExecStart"]
        assert installed.status(login)["daemon"]["started_by"] == "systemd"
        told = installed.run(login, "service", "status")
        assert f"pid {service['MainPID']}" in told
        assert "started by the service" in told


def test_systemd_has_nothing_to_say_against_the_unit(installed: TunnelUser) -> None:
    with Login(installed.person) as login:
        verified = login.try_run("systemd-analyze", "--user", "verify", UNIT)
        assert (verified.returncode, verified.stderr) == (0, "")
    assert "Unknown" not in installed.person.journal()


def test_a_killed_daemon_is_started_again_with_what_was_wanted(installed: TunnelUser) -> None:
    installed.configure(BY_HAND)
    with Login(installed.person) as login:
        installed.wait_up(login)
        installed.run(login, "up", "hand")
        installed.run(login, "down", NAME)
        old = daemon_pid(installed, login)
        login.run("kill", "-9", str(old))
        wait_restarted(installed, login, old)
        installed.wait_up(login, "hand")
        assert installed.tunnel(login)["wanted"] is False
        assert installed.service(login)["NRestarts"] == "1"


@contextlib.contextmanager
def frozen(user: TunnelUser, pid: int) -> Iterator[None]:
    """While this lasts the daemon's event loop stands still, until the daemon has ended."""
    command = [sys.executable, FREEZE, str(user.machine.process(pid).pid)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as freezer:
        try:
            assert freezer.stdout is not None
            assert freezer.stdout.readline() == "frozen\n"
            yield
            freezer.wait(FREEZE_TIMEOUT_S)
        finally:
            freezer.kill()


def test_a_frozen_event_loop_is_noticed_and_the_daemon_replaced(installed: TunnelUser) -> None:
    with Login(installed.person) as login:
        installed.drop_in(login, "WatchdogSec=2\nTimeoutAbortSec=2")
        installed.wait_up(login)
        old = daemon_pid(installed, login)
        with frozen(installed, old):
            wait_restarted(installed, login, old)
        installed.wait_up(login)
        assert "Watchdog timeout" in installed.person.journal()


def test_a_watched_daemon_that_turns_is_left_alone(installed: TunnelUser) -> None:
    with Login(installed.person) as login:
        installed.drop_in(login, "WatchdogSec=1")
        installed.wait_up(login)
        old = daemon_pid(installed, login)
        # It hears nothing of this one: several times the watchdog's patience.
        login.run("sleep", "4")
        assert daemon_pid(installed, login) == old


def test_the_logout_ends_it_in_order(installed: TunnelUser) -> None:
    with Login(installed.person) as login:
        installed.wait_up(login)
    installed.person.wait_gone()
    journal = installed.person.journal()
    assert "jtunneld ends" in journal
    assert f"Stopped {UNIT}" in journal
    assert "Killing process" not in journal
    assert "Failed with result" not in journal
    installed.machine.wait_for(f"test ! -e /run/user/{installed.person.uid}")


def test_with_linger_it_outlives_the_logout_and_needs_no_login(installed: TunnelUser) -> None:
    person, machine = installed.person, installed.machine
    machine.run("loginctl", "enable-linger", person.name)
    with Login(person) as login:
        installed.wait_up(login)
        assert "yes, it runs from boot on" in installed.run(login, "service", "status")
    is_logged_out = f"! loginctl list-sessions --no-legend | grep -qw {person.name}"
    machine.wait_for(is_logged_out)
    # A script that nobody has logged in for finds it too.
    person.without_session(installed.program, "status", NAME)
    # As at boot: a user manager that no login has started.
    machine.run("systemctl", "restart", f"user@{person.uid}.service")
    machine.wait_for(
        f"setpriv --reuid={person.uid} --clear-groups {installed.program} status {NAME} >/dev/null"
    )


def test_a_daemon_that_was_started_by_hand_makes_room_for_the_service(user: TunnelUser) -> None:
    user.configure(BY_HAND)
    with Login(user.person) as login:
        user.run(login, "up", "hand")
        assert user.status(login)["daemon"]["started_by"] == "hand"
        assert "by hand" in user.run(login, "service", "install")
        user.wait_up(login, "hand")
        assert user.status(login)["daemon"]["started_by"] == "systemd"


def test_a_second_daemon_by_hand_gives_way(installed: TunnelUser) -> None:
    with Login(installed.person) as login:
        installed.wait_up(login)
        pid = daemon_pid(installed, login)
        second = login.try_run(f"{installed.program}d")
        assert second.returncode == 1
        assert f"another daemon runs already (pid {pid})" in second.stderr
        assert installed.tunnel(login)["state"] == "up"
        assert daemon_pid(installed, login) == pid


def test_a_service_that_finds_a_daemon_at_work_gives_way(installed: TunnelUser) -> None:
    installed.configure(autostart=False)
    with Login(installed.person) as login:
        login.wait_for(f"systemctl --user --quiet is-active {UNIT}")
        login.run("systemctl", "--user", "stop", UNIT)
        login.run("sh", "-c", f"setsid {installed.program}d </dev/null >/dev/null 2>&1 &")
        login.wait_for(f"{installed.program} status >/dev/null 2>&1; test $? != 3")
        by_hand = installed.status(login)["daemon"]["pid"]
        login.run("systemctl", "--user", "start", UNIT)
        # It has nothing to do, which is no failure, and it is not started again and again.
        login.wait_for(f"test $(systemctl --user show --property=ActiveState --value {UNIT}) = inactive")
        assert installed.service(login)["Result"] == "success"
        assert installed.status(login)["daemon"]["pid"] == by_hand
        assert "started by hand" in installed.run(login, "service", "status")
        installed.run(login, "shutdown")


def test_up_starts_the_service_and_no_daemon_beside_it(installed: TunnelUser) -> None:
    with Login(installed.person) as login:
        login.wait_for(f"systemctl --user --quiet is-active {UNIT}")
        login.run("systemctl", "--user", "stop", UNIT)
        installed.run(login, "up", NAME)
        assert installed.status(login)["daemon"]["pid"] == daemon_pid(installed, login)


def test_a_broken_config_is_shown_and_mended_without_a_restart(installed: TunnelUser) -> None:
    installed.configure("[profiles.gpu]\n")
    with Login(installed.person) as login:
        login.wait_for(f"systemctl --user --quiet is-active {UNIT}")
        pid = daemon_pid(installed, login)
        problem = installed.status(login)["daemon"]["config_problem"]
        assert problem is not None
        assert problem["kind"] == "config-invalid"
        login.wait_for(f"systemctl --user status {UNIT} | grep -q 'Status: .*config'")
        installed.configure()
        installed.wait_up(login)
        assert installed.status(login)["daemon"]["config_problem"] is None
        assert daemon_pid(installed, login) == pid


def test_restart_brings_back_what_was_up(installed: TunnelUser) -> None:
    installed.configure(BY_HAND)
    with Login(installed.person) as login:
        installed.wait_up(login)
        installed.run(login, "up", "hand")
        old = daemon_pid(installed, login)
        assert "started by the service" in installed.run(login, "service", "restart")
        assert daemon_pid(installed, login) != old
        installed.wait_up(login)
        installed.wait_up(login, "hand")


def test_uninstall_leaves_nothing(installed: TunnelUser) -> None:
    with Login(installed.person) as login:
        installed.wait_up(login)
        installed.run(login, "service", "uninstall")
        assert installed.try_run(login, "status").returncode == 3
        assert installed.service(login)["LoadState"] == "not-found"
        assert login.run("find", ".config/systemd", "-name", "jtunneld*") == ""
        installed.run(login, "service", "uninstall")
    with Login(installed.person) as login:
        assert installed.try_run(login, "status").returncode == 3


def test_without_a_session_it_is_installed_for_the_next_login(user: TunnelUser) -> None:
    said = user.person.try_without_session(user.program, "service", "install")
    assert said.returncode == 0, said.stderr
    assert "it starts at the next login" in said.stderr
    with Login(user.person) as login:
        user.wait_up(login)
    user.person.wait_gone()
    said = user.person.try_without_session(user.program, "service", "uninstall")
    assert said.returncode == 0, said.stderr
    with Login(user.person) as login:
        assert user.try_run(login, "status").returncode == 3


def test_a_host_that_is_not_there_at_login_is_tried_again(installed: TunnelUser) -> None:
    ssh_config = f"Host {ALIAS}\n  HostName 127.0.0.1\n  User far\n  Port "
    port = installed.port + 5_000
    known = installed.machine.host_key.known_hosts_line("127.0.0.1", port)
    installed.person.write(".ssh/known_hosts", known)
    installed.person.write(".ssh/config", f"{ssh_config}{port}\n")
    with Login(installed.person) as login:
        login.wait_for(f"{installed.program} status --json | grep -q retrying")
        sshd = f"/usr/sbin/sshd -D -f /run/host/sshd_config -p {port}"
        unit = f"later-{installed.person.name}"
        installed.machine.run("systemd-run", "--quiet", f"--unit={unit}", *sshd.split())
        try:
            installed.wait_up(login)
        finally:
            installed.machine.run("systemctl", "stop", unit)


def test_what_the_unit_forbids_is_not_needed_by_a_proxy_command(installed: TunnelUser, far: Person) -> None:
    through = f"ssh -F none -o BatchMode=yes -W 127.0.0.1:22 {far.name}@127.0.0.1"
    block = f"Host {ALIAS}\n  HostName 127.0.0.1\n  User {far.name}\n  ProxyCommand {through}\n"
    installed.person.write(".ssh/config", block)
    with Login(installed.person) as login:
        installed.wait_up(login)


def test_an_agent_that_the_session_brings_is_found_by_the_running_daemon(
    installed: TunnelUser, far: Person
) -> None:
    person = installed.person
    key = make_key(installed.machine.shared, f"agent-{person.name}")
    far.authorize(key)
    with open(key.path) as file:
        person.write("later_key", file.read())
    person.without_session("rm", os.path.join(person.home, ".ssh/id_ed25519"))
    with Login(person) as login:
        login.wait_for(f"{installed.program} status --json | grep -q '\"auth-failed\"'")
        pid = daemon_pid(installed, login)
        socket = f"/run/user/{person.uid}/of-the-session.sock"
        login.run("systemd-run", "--user", "--quiet", "ssh-agent", "-D", "-a", socket)
        login.wait_for(f"test -S {socket}")
        login.run("env", f"SSH_AUTH_SOCK={socket}", "ssh-add", "-q", "later_key")
        # What a desktop does when it has started its agent.
        login.run("systemctl", "--user", "set-environment", f"SSH_AUTH_SOCK={socket}")
        installed.wait_up(login)
        assert daemon_pid(installed, login) == pid
        assert f"{socket} (1 key)" in installed.run(login, "service", "status")
