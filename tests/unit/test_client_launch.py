"""Starting the real daemon where none runs: once, detached, and with its own words when it cannot."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from tests.support import processes
from tests.support.pseudo_terminal import WAIT_S
from tests.support.thin_client import Client

# A profile that needs no SSH to be talked about; nothing listens at port 1.
CONFIG = """
[profiles.far]
host = "127.0.0.1"
port = 1
ssh_config = false
"""


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        with open(client.config_file, "w") as file:
            file.write(CONFIG)
        yield client
        client.run("shutdown")
        processes.await_end(daemons(client), WAIT_S)


def daemons(client: Client) -> list[psutil.Process]:
    """The daemons that this test has started and that still live."""
    found = processes.running_with("JTUNNEL_RUNTIME_DIR", client.runtime_dir)
    return [process for process in found if "daemon" in processes.command_line(process)]


def test_starts_one_that_lives_on_by_itself(client: Client) -> None:
    os.rmdir(client.runtime_dir)
    done = client.run("up", "far", "--no-wait")
    assert (done.returncode, done.stdout) == (0, "")
    (daemon,) = daemons(client)
    assert daemon.cwd() == "/"
    assert os.getsid(daemon.pid) == daemon.pid
    assert stat.S_IMODE(os.stat(client.runtime_dir).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(os.path.join(client.runtime_dir, "startup.log")).st_mode) == 0o600
    shown = json.loads(client.run("status", "--json").stdout)
    assert shown["daemon"]["pid"] == daemon.pid
    assert [tunnel["name"] for tunnel in shown["tunnels"]] == ["far"]
    assert client.run("up", "far", "--no-wait").returncode == 0
    assert [process.pid for process in daemons(client)] == [daemon.pid]


def test_daemon_inherits_nothing(client: Client) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    process = subprocess.Popen(
        client.command("up", "far", "--no-wait"),
        env=client.environ,
        stdout=writing,
        stderr=writing,
        pass_fds=[writing],
    )
    os.close(writing)
    with open(reading) as pipe:
        # The end of the pipe comes only when nobody holds its other end.
        assert "far: coming up" in pipe.read()
    assert process.wait(WAIT_S) == 0
    assert daemons(client)


def test_two_at_once_start_one(client: Client) -> None:
    started = [client.start("up", "far", "--no-wait") for _ in range(3)]
    for process in started:
        stdout, stderr = process.communicate(timeout=WAIT_S)
        assert (process.returncode, stdout) == (0, ""), stderr
    assert len(daemons(client)) == 1


def test_recovers_from_a_killed_daemon(client: Client) -> None:
    client.run("up", "far", "--no-wait")
    (daemon,) = daemons(client)
    processes.kill([daemon])
    done = client.run("status")
    assert (done.returncode, done.stderr) == (3, "jtunnel: no daemon runs; start it with: jtunnel up\n")
    assert client.run("up", "far", "--no-wait").returncode == 0
    assert client.run("status").returncode == 0


def test_shutdown_returns_when_the_next_can_start(client: Client) -> None:
    for _ in range(2):
        assert client.run("up", "far", "--no-wait").returncode == 0
        done = client.run("shutdown")
        assert (done.returncode, done.stdout) == (0, "")
    assert client.run("status").returncode == 3


def test_wrong_config_is_told_in_the_daemons_words(client: Client) -> None:
    with open(client.config_file, "w") as file:
        file.write('[profiles.far]\nhost = "x"\nhots = "y"\nbad = 1\n')
    done = client.run("up")
    assert (done.returncode, done.stdout) == (2, "")
    assert all(line.startswith("jtunnel: ") for line in done.stderr.splitlines())
    assert os.path.basename(client.config_file) in done.stderr
    assert "hots" in done.stderr
    assert "bad" in done.stderr
    assert not daemons(client)


@pytest.mark.long
def test_daemon_that_cannot_start_is_told(client: Client) -> None:
    # A directory where the lock file would be.
    os.mkdir(os.path.join(client.runtime_dir, "jtunnel.lock"))
    done = client.run("up", "far")
    assert done.returncode == 1
    assert done.stderr.startswith("jtunnel: the daemon ended as it started: ")
    assert done.stderr.count("\n") == 1
    os.rmdir(os.path.join(client.runtime_dir, "jtunnel.lock"))


def test_relative_directories_mean_the_same_to_the_daemon(client: Client) -> None:
    client.environ |= {
        "JTUNNEL_RUNTIME_DIR": "run",
        "JTUNNEL_STATE_DIR": "state",
        "JTUNNEL_CONFIG": "jtunnel/config.toml",
    }
    done = subprocess.run(
        client.command("up", "--no-wait"),
        cwd=client.path,
        env=client.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    client.environ["JTUNNEL_RUNTIME_DIR"] = client.runtime_dir
    shown = json.loads(client.run("status", "--json").stdout)
    assert shown["daemon"]["config_path"] == client.config_file
