"""The daemon as a process: one at a time, started by whoever needs it, killed, ended, and in nobody's way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import psutil
import pytest

from jtunnel import wire
from tests.support import processes
from tests.support.client import PROGRAM, Jtunnel
from tests.support.foreground import ForegroundDaemon
from tests.support.profiles import profile
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, dial, echoes, free_port, listens

DAEMON = os.path.join(sys.prefix, "bin", "jtunneld")
NO_DAEMON = "jtunnel: no daemon runs; start it with: jtunnel up\n"
TIMEOUT_S = 30


def daemons(jtunnel: Jtunnel) -> list[int]:
    """The processes of all daemons in this home."""
    running = processes.running_with("HOME", jtunnel.home.path)
    return [
        process.pid
        for process in running
        if {"daemon", DAEMON}.intersection(processes.command_line(process)[-1:])
    ]


def control_socket(jtunnel: Jtunnel) -> str:
    return os.path.join(jtunnel.home.runtime_dir, "control.sock")


def test_several_ups_at_once_start_one_daemon(jtunnel: Jtunnel, box: Sshd) -> None:
    names = ["a", "b", "c", "d"]
    jtunnel.write_config("".join(map(profile, names)))
    clients = [
        subprocess.Popen(
            [PROGRAM, "up", name],
            env=jtunnel.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for name in names
    ]
    for client, name in zip(clients, names, strict=True):
        out, err = client.communicate(timeout=TIMEOUT_S)
        assert (client.returncode, out) == (0, f"{name}  up\n"), err
    assert daemons(jtunnel) == [jtunnel.daemon_pid()]


def test_a_second_daemon_says_so_and_goes(jtunnel: Jtunnel) -> None:
    jtunnel.write_config("")
    with ForegroundDaemon(jtunnel) as daemon:
        pid = daemon.process.pid
        for command in ([DAEMON], [PROGRAM, "daemon"]):
            ended = subprocess.run(
                command, env=jtunnel.env, capture_output=True, text=True, timeout=TIMEOUT_S
            )
            assert ended.returncode == 1
            assert ended.stderr == (
                f"jtunneld: another daemon runs already (pid {pid}); "
                "use it, or end it with: jtunnel shutdown\n"
            )
        assert jtunnel.daemon_pid() == pid


def test_a_killed_daemon_is_replaced(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port, local = free_port(), os.path.join(jtunnel.home.path, "local.sock")
    jtunnel.write_config(
        profile("a", f"{port}:{echo.target}", f'{{ listen = "{local}", target = "{echo.target}" }}')
    )
    jtunnel.check("up")
    pid = jtunnel.daemon_pid()
    assert pid is not None
    killed = psutil.Process(pid)
    processes.kill([killed])
    assert os.path.exists(control_socket(jtunnel))
    for words in (("status",), ("status", "--json"), ("down",), ("reload",), ("shutdown",), ("url", "a")):
        ended = jtunnel.run(*words)
        assert (ended.returncode, ended.stdout, ended.stderr) == (3, "", NO_DAEMON)
    assert not listens(port)
    jtunnel.check("up")
    assert jtunnel.daemon_pid() not in (None, pid)
    with dial(port) as client:
        assert echoes(client)


def test_sigterm_ends_all_in_order(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    ports = [free_port() for _ in range(20)]
    # Some with links of their own, one that has no host to reach.
    jtunnel.write_config(
        "".join(
            profile(f"t{number}", f"{port}:{echo.target}", share=number % 5 > 0)
            for number, port in enumerate(ports)
        )
        + profile("lost", f"{free_port()}:{echo.target}", host="127.0.0.1", port=free_port())
    )
    with ExitStack() as stack:
        daemon = stack.enter_context(ForegroundDaemon(jtunnel))
        names = [f"t{number}" for number in range(20)]
        jtunnel.check("up", *names)
        jtunnel.check("up", "--no-wait", "lost")
        streams = [stack.enter_context(dial(port)) for port in ports]
        assert all(map(echoes, streams))
        # Clients that neither finish a line nor read what they asked for.
        for words in (b'{"jsonrpc"', wire.request(1, "watch", {})):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(control_socket(jtunnel))
            client.sendall(words)
        started_at = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        assert "STOPPING=1" in daemon.next_notice()
        assert daemon.process.wait(5) == 0
        assert time.monotonic() - started_at < 5
        for stream in streams:
            with pytest.raises(ConnectionResetError):
                stream.recv(1)
        assert not any(map(listens, ports))
    assert not os.path.exists(control_socket(jtunnel))
    assert jtunnel.log_tail().endswith("jtunneld ends\n")
    assert jtunnel.run("status").returncode == 3


def test_sigterm_while_a_host_is_mute(jtunnel: Jtunnel) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        jtunnel.write_config(profile("a", host="127.0.0.1", port=port, autostart=True))
        with ForegroundDaemon(jtunnel) as daemon:
            mute.settimeout(TIMEOUT_S)
            with mute.accept()[0]:
                daemon.process.terminate()
                assert daemon.process.wait(5) == 0


def test_shutdown_and_start_again(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}", autostart=True) + profile("b"))
    jtunnel.check("up", "b")
    # It was started for b; a says autostart.
    jtunnel.wait_state("a", "up")
    pid = jtunnel.daemon_pid()
    ended = jtunnel.run("shutdown")
    assert (ended.returncode, ended.stdout) == (0, "")
    assert not listens(port)
    # At once, while the old one may still be on its way out.
    jtunnel.check("up", "a")
    assert jtunnel.daemon_pid() not in (None, pid)
    # Wanted by hand before, it still is.
    jtunnel.wait_state("b", "up")


def test_the_daemon_keeps_no_descriptor_of_its_starter(jtunnel: Jtunnel) -> None:
    jtunnel.write_config(profile("a", host="127.0.0.1", port=free_port()))
    reading, writing = os.pipe()
    with os.fdopen(reading) as end:
        os.set_inheritable(writing, True)
        # Standard output and error are pipes too: `communicate` returns once nobody holds them.
        client = subprocess.Popen(
            [PROGRAM, "up", "--no-wait", "a"],
            env=jtunnel.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[writing],
        )
        os.close(writing)
        client.communicate(timeout=TIMEOUT_S)
        assert client.returncode == 0
        pid = jtunnel.daemon_pid()
        assert pid is not None
        # The daemon lives, and the pipe has no writer left.
        assert end.read() == ""
    daemon = psutil.Process(pid)
    assert daemon.cwd() == "/"
    assert daemon.terminal() is None
    assert os.getsid(pid) == pid


def test_no_daemon_for_commands_that_need_none(jtunnel: Jtunnel) -> None:
    jtunnel.write_config(profile("a"))
    for words in (("--help",), ("--version",), ("config", "check"), ("config", "path"), ("up", "--help")):
        jtunnel.check(*words)
    assert jtunnel.run("status").returncode == 3
    assert daemons(jtunnel) == []


def test_the_words_of_a_daemon_that_cannot_start(jtunnel: Jtunnel) -> None:
    jtunnel.write_config(profile("a"))
    with open(jtunnel.home.state_dir, "w"):
        pass
    ended = jtunnel.run("up", "a")
    assert ended.returncode == 1
    assert jtunnel.home.state_dir in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "Traceback" not in ended.stderr
