"""`jtunnel service` and daemons that were started by hand, with a stand-in for systemd that does as told."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from typing import Any

import psutil
import pytest

from tests.support import processes
from tests.support.client import Jtunnel
from tests.support.foreground import PROGRAM as DAEMON
from tests.support.foreground import ForegroundDaemon
from tests.support.profiles import profile
from tests.support.programs import find_program
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, free_port
from tests.support.user_manager import UserManager

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")

#: Nothing listens there, and nobody has to be asked.
FAR = profile("far", host="127.0.0.1", port=1, ssh_config=False)
TIMEOUT_S = 30


@pytest.fixture
def manager(jtunnel: Jtunnel) -> UserManager:
    made = UserManager(jtunnel.home.path)
    jtunnel.env["PATH"] = f"{made.bin}:{jtunnel.env['PATH']}"
    jtunnel.write_config(FAR)
    return made


def starter(jtunnel: Jtunnel) -> str:
    return jtunnel.status()["daemon"]["started_by"]


def test_install_starts_it_and_again_changes_nothing(jtunnel: Jtunnel, manager: UserManager) -> None:
    done = jtunnel.run("service", "install")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert manager.calls() == ["enable", "daemon-reload", "restart"]
    pid = manager.pid()
    assert pid is not None
    assert jtunnel.daemon_pid() == pid
    assert done.stderr == (
        f"jtunnel: wrote {manager.unit}\n"
        f"jtunnel: the systemd user unit jtunneld.service is installed and runs (pid {pid}); "
        "see: jtunnel service status\n"
    )
    assert starter(jtunnel) == "systemd"
    again = jtunnel.run("service", "install")
    assert again.stderr.count("\n") == 1
    assert "was there already and runs" in again.stderr
    assert manager.calls() == ["enable"]
    assert manager.pid() == pid
    shown = jtunnel.check("service", "status")
    assert f"yes, pid {pid} since " in shown
    assert "started by the service" in shown


def test_print_changes_nothing(jtunnel: Jtunnel, manager: UserManager) -> None:
    printed = jtunnel.check("service", "install", "--print")
    assert manager.calls() == []
    assert not os.path.exists(manager.unit)
    jtunnel.check("service", "install")
    with open(manager.unit) as file:
        assert file.read() == printed
    wrong = jtunnel.run("service", "status", "--print")
    assert wrong.returncode == 2


def test_install_takes_over_from_a_daemon_that_was_started_by_hand(
    jtunnel: Jtunnel, manager: UserManager, box: Sshd, echo: EchoServer
) -> None:
    jtunnel.write_config(profile("a", f"{free_port()}:{echo.target}") + FAR)
    jtunnel.check("up", "a")
    by_hand = jtunnel.daemon_pid()
    done = jtunnel.run("service", "install")
    assert done.returncode == 0, done.stderr
    assert f"the daemon that was started by hand (pid {by_hand}) makes room for it" in done.stderr
    # What was up is up again when the command returns, though no profile says autostart.
    assert done.stdout.startswith("a  up")
    assert jtunnel.daemon_pid() == manager.pid() != by_hand
    assert jtunnel.tunnel("a")["state"] == "up"
    assert jtunnel.tunnel("far")["state"] == "down"


@pytest.mark.long
def test_up_starts_the_service_and_others_files_are_not_its(jtunnel: Jtunnel, manager: UserManager) -> None:
    jtunnel.check("service", "install")
    jtunnel.check("shutdown")
    manager.calls()
    jtunnel.check("up", "far", "--no-wait")
    # Asked again while the one before has not quite ended.
    assert set(manager.calls()) == {"start"}
    assert jtunnel.daemon_pid() == manager.pid()
    jtunnel.check("shutdown")
    jtunnel.env["JTUNNEL_CONFIG"] = other = os.path.join(jtunnel.home.path, "other.toml")
    shutil.copy(jtunnel.home.config_file, other)
    jtunnel.check("up", "far", "--no-wait")
    assert manager.calls() == []
    assert jtunnel.status()["daemon"]["config_path"] == other
    assert starter(jtunnel) == "hand"
    del jtunnel.env["JTUNNEL_CONFIG"]
    assert "for another JTUNNEL_CONFIG than this terminal's" in jtunnel.run("service", "status").stdout
    renewed = jtunnel.run("service", "install")
    assert "it no longer has JTUNNEL_CONFIG, which this terminal does not set" in renewed.stderr
    with open(manager.unit, "a") as file:
        file.write("# of an older version\n")
    assert "differs from what this jtunnel writes" in jtunnel.run("service", "status").stdout


def test_up_starts_the_daemon_itself_where_the_service_does_not(
    jtunnel: Jtunnel, manager: UserManager
) -> None:
    jtunnel.check("service", "install")
    jtunnel.check("shutdown")
    with open(os.path.join(manager.bin, "systemctl"), "w") as file:
        file.write("#!/bin/sh\nexit 1\n")
    done = jtunnel.run("up", "far", "--no-wait")
    assert done.returncode == 0
    assert "journalctl --user -u jtunneld.service" in done.stderr.splitlines()[0]
    assert starter(jtunnel) == "hand"


@pytest.mark.parametrize("by_service", [True, False])
def test_restart_renews_the_daemon_and_brings_back_what_was_up(
    jtunnel: Jtunnel, manager: UserManager, box: Sshd, echo: EchoServer, by_service: bool
) -> None:
    jtunnel.write_config(profile("a", f"{free_port()}:{echo.target}") + profile("b", autostart=True) + FAR)
    if by_service:
        jtunnel.check("service", "install")
    jtunnel.check("up", "a")
    jtunnel.check("down", "b")
    before = jtunnel.daemon_pid()
    done = jtunnel.run("service", "restart")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("a  up")
    after = jtunnel.daemon_pid()
    assert after not in (None, before)
    assert (after == manager.pid()) == by_service
    assert f"pid {after}, started by {'the service' if by_service else 'hand'}" in done.stderr
    assert [jtunnel.tunnel(name)["state"] for name in ("a", "b", "far")] == ["up", "down", "down"]


@pytest.mark.long
def test_restart_keeps_the_files_of_the_daemon_not_those_of_the_terminal(
    jtunnel: Jtunnel, manager: UserManager
) -> None:
    jtunnel.check("up", "far", "--no-wait")
    before = jtunnel.status()["daemon"]
    jtunnel.env["JTUNNEL_CONFIG"] = os.path.join(jtunnel.home.path, "other.toml")
    jtunnel.check("service", "restart")
    after = jtunnel.status()
    assert after["daemon"]["pid"] != before["pid"]
    assert after["daemon"]["config_path"] == before["config_path"]
    assert after["tunnels"][0]["wanted"]


@pytest.mark.long
def test_restart_hands_over_to_the_service(jtunnel: Jtunnel, manager: UserManager) -> None:
    jtunnel.check("service", "install")
    jtunnel.check("shutdown")
    started = subprocess.Popen([DAEMON], env=jtunnel.env, stderr=subprocess.DEVNULL, start_new_session=True)
    with started:
        while jtunnel.daemon_pid() is None:
            assert started.poll() is None
        assert "by hand; hand it over with: jtunnel service restart" in jtunnel.check("service", "status")
        done = jtunnel.run("service", "restart")
        assert started.wait(TIMEOUT_S) == 0
    assert "started by the service" in done.stderr
    assert jtunnel.daemon_pid() == manager.pid()


def test_restart_without_anything(jtunnel: Jtunnel, manager: UserManager) -> None:
    done = jtunnel.run("service", "restart")
    assert (done.returncode, done.stderr) == (3, "jtunnel: no daemon runs; start it with: jtunnel up\n")


def test_restart_replaces_a_daemon_of_another_protocol(jtunnel: Jtunnel, manager: UserManager) -> None:
    def shut_down(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        old.close()

    os.makedirs(jtunnel.home.runtime_dir, mode=0o700)
    with ScriptedDaemon(
        jtunnel.home.runtime_dir, {"status": document(), "shutdown": shut_down}, protocol=0
    ) as old:
        told = jtunnel.run("status")
        assert (told.returncode, "renew it with: jtunnel service restart" in told.stderr) == (1, True)
        done = jtunnel.run("service", "restart")
    assert done.returncode == 0, done.stderr
    assert "started by hand" in done.stderr
    assert jtunnel.run("status").returncode == 0


def test_uninstall_leaves_nothing(jtunnel: Jtunnel, manager: UserManager) -> None:
    jtunnel.check("service", "install")
    pid = manager.pid()
    assert pid is not None
    daemon = psutil.Process(pid)
    done = jtunnel.run("service", "uninstall")
    assert done.returncode == 0
    assert f"its daemon (pid {pid}) has ended" in done.stderr
    assert "by hand with: jtunnel up" in done.stderr
    assert processes.await_end([daemon], TIMEOUT_S) == []
    assert [files for _, _, files in os.walk(os.path.dirname(manager.unit)) if files] == []
    again = jtunnel.run("service", "uninstall")
    assert (again.returncode, "there is nothing to remove" in again.stderr) == (0, True)
    assert jtunnel.run("service", "status").returncode == 1


@pytest.mark.long
def test_uninstall_leaves_a_daemon_that_was_started_by_hand(jtunnel: Jtunnel, manager: UserManager) -> None:
    jtunnel.check("service", "install")
    jtunnel.check("shutdown")
    os.unlink(os.path.join(jtunnel.home.path, "systemd", "private"))
    jtunnel.check("up", "far", "--no-wait")
    pid = jtunnel.daemon_pid()
    done = jtunnel.run("service", "uninstall")
    assert f"the daemon (pid {pid}) was started by hand and goes on" in done.stderr
    assert jtunnel.daemon_pid() == pid


def test_without_a_user_manager_it_starts_at_the_next_login(jtunnel: Jtunnel) -> None:
    find_program("systemctl")
    unit = os.path.join(jtunnel.home.path, ".config", "systemd", "user", "jtunneld.service")
    done = jtunnel.run("service", "install")
    assert done.returncode == 0, done.stderr
    is_systemd_here = os.path.isdir("/run/systemd/system")
    absent = "systemd does not run on this machine"
    assert ("it starts at the next login" if is_systemd_here else absent) in done.stderr
    wanted = os.path.join(os.path.dirname(unit), "default.target.wants", "jtunneld.service")
    assert os.path.realpath(wanted) == os.path.realpath(unit)
    shown = jtunnel.run("service", "status")
    assert shown.returncode == 3
    assert f"installed  yes, {unit}" in shown.stdout
    assert "enabled    yes" in shown.stdout
    assert "running    no" in shown.stdout
    assert ("linger" in shown.stdout) == is_systemd_here
    assert (f"enabled    yes, but {absent}" in shown.stdout) != is_systemd_here
    jtunnel.write_config(FAR)
    jtunnel.check("up", "far", "--no-wait")
    assert starter(jtunnel) == "hand"
    shown = jtunnel.run("service", "status")
    assert shown.returncode == 0
    assert "started by hand" in shown.stdout
    # It would be by hand again.
    assert "service restart" not in shown.stdout
    why = "no user manager answers" if is_systemd_here else "systemd does not run here"
    assert f"started by hand, since {why}" in jtunnel.run("service", "restart").stderr
    jtunnel.check("service", "uninstall")
    assert not os.path.lexists(wanted)
    assert not os.path.exists(unit)


def test_where_its_file_cannot_be_written(jtunnel: Jtunnel, manager: UserManager) -> None:
    os.makedirs(os.path.dirname(os.path.dirname(manager.unit)), exist_ok=True)
    os.symlink("/nowhere/at/all", os.path.dirname(manager.unit))
    done = jtunnel.run("service", "install")
    assert done.returncode == 1
    # Before it there is a warning where the tests run in a directory that is cleared by itself.
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"jtunnel: {manager.unit} cannot be written: ")
    assert line.endswith("jtunnel service install --print")


def test_a_system_without_either(jtunnel: Jtunnel) -> None:
    jtunnel.env["PATH"] = os.path.join(sys.prefix, "bin")
    for action in ("install", "uninstall", "status"):
        done = jtunnel.run("service", action)
        assert done.returncode == 1
        assert done.stderr == (
            "jtunnel: this system has neither systemd nor launchd; "
            "have your session's own start-up start jtunneld\n"
        )
    assert jtunnel.run("service", "restart").returncode == 3


def test_a_service_beside_another_daemon_is_content(jtunnel: Jtunnel) -> None:
    jtunnel.write_config(FAR)
    with ForegroundDaemon(jtunnel) as daemon, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        path = os.path.join(jtunnel.home.path, "second.sock")
        notices.bind(path)
        notices.settimeout(TIMEOUT_S)
        second = subprocess.run(
            [DAEMON],
            env={**jtunnel.env, "JTUNNEL_SERVICE": "systemd", "NOTIFY_SOCKET": path},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert second.returncode == 0
        assert second.stderr == (
            f"jtunneld: another daemon runs already (pid {daemon.process.pid}); this one is not needed\n"
        )
        # Not to have been ready, systemd would take for a failure.
        assert b"READY=1" in notices.recv(4096)
        assert jtunnel.daemon_pid() == daemon.process.pid


def test_a_service_with_a_broken_config_waits_for_it_to_be_mended(jtunnel: Jtunnel) -> None:
    jtunnel.write_config(FAR + "broken = [")
    assert jtunnel.run("up").returncode == 2
    assert jtunnel.daemon_pid() is None
    jtunnel.env["JTUNNEL_SERVICE"] = "systemd"
    with ForegroundDaemon(jtunnel):
        document = jtunnel.status()
        problem = document["daemon"]["config_problem"]
        assert problem is not None
        assert problem["kind"] == "config-invalid"
        assert document["tunnels"] == []
        told = jtunnel.run("up", "far")
        assert told.returncode == 2
        assert problem["message"] in told.stderr
        jtunnel.write_config(FAR)
        jtunnel.check("reload")
        assert jtunnel.status()["daemon"]["config_problem"] is None
        assert jtunnel.tunnel("far")["state"] == "down"


def test_children_do_not_speak_for_the_daemon(jtunnel: Jtunnel, box: Sshd) -> None:
    """A ProxyCommand with the daemon's NOTIFY_SOCKET could end or keep alive what it is not."""
    seen = os.path.join(jtunnel.home.path, "seen")
    jtunnel.write_config(profile("a"))
    with open(jtunnel.home.ssh_config, "a") as file:
        file.write(f"Host *\n  ProxyCommand sh -c 'env >{seen}; exit 1'\n")
    jtunnel.env |= {"JTUNNEL_SERVICE": "systemd", "WATCHDOG_USEC": "60000000"}
    with ForegroundDaemon(jtunnel):
        jtunnel.check("up", "a", "--no-wait")
        jtunnel.wait_tunnel("a", lambda tunnel: tunnel["problem"] is not None)
    with open(seen) as file:
        names = {line.partition("=")[0] for line in file}
    assert "HOME" in names
    assert not names & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JTUNNEL_SERVICE"}
