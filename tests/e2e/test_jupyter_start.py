"""Starting, losing, ending and adopting a JupyterLab: each test has a remote account of its own."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping

import psutil
import pytest

from tests.support import processes
from tests.support.accounts import Account, current_account
from tests.support.client import Jtunnel
from tests.support.home import SYSTEM_PATH, Home
from tests.support.keys import Key
from tests.support.laptop import NAME, Laptop, prepared, remote_account
from tests.support.sshd import Sshd


@pytest.fixture
def lab_account() -> Iterator[Account]:
    """Someone to log in as who has never used Jupyter."""
    with remote_account() as made:
        yield made


def process_of(laptop: Laptop) -> psutil.Process:
    """The server's process."""
    pid = laptop.server()["pid"]
    assert pid is not None
    return psutil.Process(pid)


def begin_busy_kernel(laptop: Laptop) -> psutil.Process:
    """Start a kernel that is at work, also with nobody connected to it; the answer is its process."""
    jupyter = laptop.jupyter()
    kernel_id = jupyter.begin_kernel()
    process = psutil.Process(int(jupyter.run(kernel_id, "import os; os.getpid()")))
    with jupyter.kernel(kernel_id) as connection:
        connection.keep_busy()
    return process


@pytest.mark.long
def test_stop_ends_the_server_and_the_next_one_has_the_same_token(laptop: Laptop) -> None:
    laptop.up()
    token = laptop.jupyter().token
    first, kernel = process_of(laptop), begin_busy_kernel(laptop)
    target = laptop.server()["target"]
    assert target is not None
    laptop.jtunnel.check("stop", NAME, "--force")
    assert not processes.is_live(first)
    assert not processes.is_live(kernel)
    assert not os.path.exists(target.removeprefix("unix:"))
    assert laptop.tunnel()["state"] == "down"

    assert laptop.up()["origin"] == "started"
    second = process_of(laptop)
    assert second.pid != first.pid
    assert laptop.jupyter().token == token
    assert laptop.jupyter().ask("GET", "/api/status")["kernels"] == 0

    begin_busy_kernel(laptop)
    with laptop.jtunnel.spawn("stop", NAME) as terminal:
        terminal.wait_for("1 kernel is busy; stop anyway? (yes/no) ")
        terminal.type("yes\r")
        assert terminal.wait() == 0, terminal.shown
    assert not processes.is_live(second)


@pytest.mark.long
def test_a_killed_server_is_gone_until_a_person_asks(laptop: Laptop) -> None:
    laptop.up()
    token, killed = laptop.jupyter().token, process_of(laptop)
    address = ("127.0.0.1", laptop.jupyter().port)
    processes.kill([killed])
    assert is_reset(address)
    blocked = laptop.jtunnel.wait_state(NAME, "blocked", 30.0)
    assert blocked["problem"] is not None
    assert blocked["problem"]["kind"] == "server-gone"
    assert f"jtunnel up {NAME}" in blocked["problem"]["advice"]
    assert laptop.server()["state"] == "gone"
    assert laptop.jtunnel.run("status", NAME).returncode == 4
    # JupyterLab must learn that its kernels are gone, so nothing waits here.
    assert laptop.tunnel()["forwards"][0]["listening"]
    assert is_reset(address)
    assert laptop.tunnel()["forwards"][0]["held"] == 0
    # Only who asks for a new server gets one.
    laptop.jtunnel.run("restart", NAME, timeout=30)
    assert laptop.jtunnel.wait_state(NAME, "blocked", 30.0)["problem"] == blocked["problem"]

    assert laptop.up()["state"] == "ready"
    assert process_of(laptop).pid != killed.pid
    assert laptop.jupyter().token == token
    assert laptop.jupyter().ask("GET", "/api/status")["kernels"] == 0


@pytest.mark.long
def test_up_does_not_wait_for_a_server_that_hangs(laptop: Laptop) -> None:
    laptop.up()
    hung = process_of(laptop)
    hung.suspend()
    try:
        ended = laptop.jtunnel.run("up", NAME, "--timeout", "10")
        assert ended.returncode == 1
        assert "still wanted" in ended.stderr
        assert laptop.tunnel()["state"] == "starting"
        assert laptop.server()["state"] == "not-answering"
    finally:
        hung.resume()
    assert laptop.up()["state"] == "ready"
    assert process_of(laptop).pid == hung.pid


@pytest.mark.long
def test_a_server_that_died_while_nobody_looked_is_started_anew(laptop: Laptop) -> None:
    laptop.up()
    killed = process_of(laptop)
    laptop.jtunnel.check("down", NAME)
    processes.kill([killed])
    assert laptop.up()["state"] == "ready"
    assert process_of(laptop).pid != killed.pid


def is_reset(address: tuple[str, int]) -> bool:
    """Connect and wait for what comes: True for a reset, False for an orderly end."""
    try:
        with socket.create_connection(address, 20.0) as client:
            client.recv(1)
    except ConnectionResetError:
        return True  # it may be faster than connect() returns
    return False


@pytest.mark.long
def test_a_server_started_by_hand_is_adopted_and_left_alone(laptop: Laptop, lab_account: Account) -> None:
    laptop.configure({"start": "never"})
    laptop.up_fails("jupyter-missing", "no Jupyter server")
    pid = laptop.start_by_hand()
    found = laptop.up()
    assert (found["pid"], found["origin"], found["root_dir"]) == (pid, "adopted", lab_account.home)
    assert found["target"] is not None
    assert found["target"].startswith("127.0.0.1:")
    jupyter = laptop.jupyter()
    kernel = jupyter.begin_kernel()
    assert jupyter.run(kernel, "1+1") == "2"
    for command in ("down", "shutdown"):
        laptop.jtunnel.check(*([command, NAME] if command == "down" else [command]))
        assert psutil.Process(pid).is_running()
        again = laptop.up()
        assert (again["pid"], again["origin"]) == (pid, "adopted")
        assert laptop.jupyter().kernel_ids() == [kernel]
    process = process_of(laptop)
    laptop.jtunnel.check("stop", NAME, "--force")
    assert not processes.is_live(process)


def test_without_jupyter_there_is_one_line_about_it(
    jtunnel: Jtunnel, lab_account: Account, host_key: Key, client_key: Key
) -> None:
    if shutil.which("jupyter", path=SYSTEM_PATH):
        pytest.skip("every account of this machine finds a jupyter")
    with Sshd(host_key, lab_account, authorized=[client_key]) as sshd:
        laptop = Laptop(jtunnel, sshd, client_key)
        laptop.up_fails("jupyter-missing", "no jupyter on", "install jupyterlab there")
        # A person may have to do something over there: the next `up` looks again.
        laptop.up_fails("jupyter-missing", "no jupyter on")
    assert processes.running_with("HOME", lab_account.home) == []


@pytest.mark.long
@pytest.mark.root
def test_a_jupyter_that_only_a_login_shell_finds(
    jtunnel: Jtunnel, lab_account: Account, host_key: Key, client_key: Key, jupyter_bin: str
) -> None:
    lab_account.put_on_path(jupyter_bin)
    with Sshd(host_key, lab_account, authorized=[client_key]) as sshd:
        laptop = Laptop(jtunnel, sshd, client_key)
        laptop.up()
        jupyter = laptop.jupyter()
        assert jupyter.run(jupyter.begin_kernel(), "1+1") == "2"


@pytest.mark.long
def test_a_port_where_sshd_forwards_to_no_sockets(
    jtunnel: Jtunnel, lab_account: Account, host_key: Key, client_key: Key, jupyter_bin: str
) -> None:
    environ = {"PATH": f"{jupyter_bin}:{SYSTEM_PATH}"}
    options = {"AllowStreamLocalForwarding": "no"}
    with Sshd(host_key, lab_account, authorized=[client_key], options=options, env=environ) as sshd:
        laptop = Laptop(jtunnel, sshd, client_key)
        check_listens_on_loopback(laptop)
        assert len(servers_of(lab_account)) == 1


@pytest.mark.long
@pytest.mark.parametrize("options", [{"listen": "tcp"}, {"remote_port": 0}], ids=["listen", "remote_port"])
def test_a_port_where_one_is_wanted(
    laptop: Laptop, lab_account: Account, options: Mapping[str, object]
) -> None:
    if "remote_port" in options:
        options = {"remote_port": free_port()}
    laptop.configure(options)
    port = check_listens_on_loopback(laptop)
    assert port == options.get("remote_port", port)


def check_listens_on_loopback(laptop: Laptop) -> int:
    """Bring it up: its server works and listens on one port of 127.0.0.1, which is the answer."""
    target = laptop.up()["target"]
    assert target is not None
    port = int(target.removeprefix("127.0.0.1:"))
    assert laptop.tunnel()["forwards"][0]["target"] == target
    listening = [
        tuple(entry.laddr)
        for entry in process_of(laptop).net_connections("inet")
        if entry.status == psutil.CONN_LISTEN
    ]
    assert listening == [("127.0.0.1", port)]
    jupyter = laptop.jupyter()
    assert jupyter.run(jupyter.begin_kernel(), "1+1") == "2"
    return port


def servers_of(account: Account) -> list[psutil.Process]:
    """The Jupyter servers that run there."""
    running = processes.running_with("HOME", account.home)
    return [
        process for process in running if "ServerApp.root_dir" in " ".join(processes.command_line(process))
    ]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.long
def test_a_directory_that_is_not_there(laptop: Laptop, lab_account: Account) -> None:
    laptop.configure({"directory": "~/my work"})
    directory = lab_account.path("my work")
    laptop.up_fails("jupyter-failed", directory, "does not exist")
    assert servers_of(lab_account) == []
    lab_account.write("my work/notes.txt", "")
    assert laptop.up()["root_dir"] == directory
    contents = laptop.jupyter().ask("GET", "/api/contents/")["content"]
    assert [entry["name"] for entry in contents] == ["notes.txt"]


@pytest.mark.long
@pytest.mark.root
def test_root_has_to_be_allowed(jtunnel: Jtunnel, host_key: Key, client_key: Key, jupyter_bin: str) -> None:
    home = Home()
    environ = {"PATH": f"{jupyter_bin}:{SYSTEM_PATH}"}
    try:
        with (
            prepared(current_account(home.path)) as account,
            Sshd(host_key, account, authorized=[client_key], env=environ) as sshd,
        ):
            laptop = Laptop(jtunnel, sshd, client_key)
            laptop.up_fails("jupyter-failed", "root", "allow_root = true")
            assert servers_of(account) == []
            laptop.configure({"allow_root": True})
            assert laptop.up()["root_dir"] == home.path
            assert process_of(laptop).uids().real == 0
            laptop.jtunnel.check("stop", NAME)
    finally:
        home.remove()
