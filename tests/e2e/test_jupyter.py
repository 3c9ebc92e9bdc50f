"""The main job as another system user over OpenSSH's sshd: one JupyterLab, which ever new laptops meet.

What is started and stopped for a single test's sake is in test_jupyter_start.py.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest

from jtunnel.status import JupyterStatus
from tests.support import processes
from tests.support.accounts import Account
from tests.support.laptop import NAME, UP_TIMEOUT_S, Laptop
from tests.support.notebook import Jupyter
from tests.support.sshd import Sshd


@pytest.fixture
def kernel(laptop: Laptop, lab_server: JupyterStatus) -> Iterator[str]:
    """A kernel of the server, in which x is 41; the laptop's tunnel is up."""
    laptop.up()
    jupyter = laptop.jupyter()
    kernel_id = jupyter.begin_kernel()
    assert jupyter.run(kernel_id, "x = 41") == ""
    yield kernel_id
    laptop.up()
    jupyter.end_kernel(kernel_id)


def check_the_same(laptop: Laptop, server: JupyterStatus, kernel: str) -> None:
    """The tunnel leads to the same server process, and the kernel knows what it knew."""
    now = laptop.server()
    assert (now["pid"], now["origin"], now["target"]) == (server["pid"], "started", server["target"])
    jupyter = laptop.jupyter()
    assert jupyter.kernel_ids() == [kernel]
    assert jupyter.run(kernel, "x + 1") == "42"


def test_up_tells_what_is_there(laptop: Laptop, lab_server: JupyterStatus, lab_account: Account) -> None:
    assert laptop.jtunnel.run("up", NAME, timeout=UP_TIMEOUT_S).returncode == 0
    tunnel = laptop.tunnel()
    found = tunnel["jupyter"]
    assert found is not None
    (forward,) = tunnel["forwards"]
    port = forward["listen"].removeprefix("127.0.0.1:")
    assert tunnel["state"] == "up"
    assert (tunnel["alias"], tunnel["user"]) == ("box", lab_account.name)
    assert found["state"] == "ready"
    assert found["url"] == f"http://localhost:{port}/lab"
    assert found["pid"] == lab_server["pid"]
    assert found["host"] == os.uname().nodename
    assert found["root_dir"] == lab_account.home
    assert found["origin"] == "started"
    assert found["target"] == forward["target"]
    assert forward["target"] is not None
    assert forward["target"].startswith(f"unix:/tmp/jtunnel-{lab_account.uid}/")
    assert (found["kernels"], found["job"]) == (0, None)
    assert found["last_activity"] is not None
    jupyter = laptop.jupyter()
    assert jupyter.ask("GET", "/api")["version"] == found["version"]
    assert lab_server["pid"] is not None
    process = psutil.Process(lab_server["pid"])
    assert process.uids().real == lab_account.uid
    assert not [entry for entry in process.net_connections("inet") if entry.status == psutil.CONN_LISTEN]


def test_the_url_opens_the_server_and_nothing_else_does(laptop: Laptop, lab_server: JupyterStatus) -> None:
    laptop.up()
    url = laptop.jtunnel.check("url", NAME).removesuffix("\n")
    parts = urlsplit(url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == laptop.server()["url"]
    (token,) = parse_qs(parts.query)["token"]
    assert len(token) >= 32
    jupyter = Jupyter(url)
    assert jupyter.ask("GET", "/api/status")["kernels"] == 0
    assert jupyter.status_code("/api/status", token="") == 403
    assert jupyter.status_code("/api/status", token="0" * len(token)) == 403
    assert jupyter.status_code(f"/lab?token={token}", token="") == 200


def test_a_kernel_computes_through_the_tunnel(laptop: Laptop, kernel: str) -> None:
    assert laptop.jupyter().run(kernel, "1+1") == "2"
    laptop.jtunnel.wait_tunnel(NAME, lambda tunnel: tunnel["forwards"][0]["active"] == 0, 10.0)


def test_a_second_up_changes_nothing(laptop: Laptop, lab_server: JupyterStatus, kernel: str) -> None:
    before = laptop.tunnel()
    assert laptop.up()["pid"] == lab_server["pid"]
    assert laptop.tunnel()["since"] == before["since"]
    check_the_same(laptop, lab_server, kernel)


def drop_the_tunnel(laptop: Laptop) -> None:
    laptop.jtunnel.check("down", NAME)
    assert laptop.tunnel()["state"] == "down"


def shut_the_daemon_down(laptop: Laptop) -> None:
    laptop.jtunnel.check("shutdown")
    assert laptop.jtunnel.run("status").returncode == 3


def kill_the_daemon(laptop: Laptop) -> None:
    pid = laptop.jtunnel.daemon_pid()
    assert pid is not None
    processes.kill([psutil.Process(pid)])
    assert laptop.jtunnel.run("status").returncode == 3


@pytest.mark.parametrize("end", [drop_the_tunnel, shut_the_daemon_down, kill_the_daemon])
def test_server_and_kernel_outlive_the_tunnel(
    end: Callable[[Laptop], None], laptop: Laptop, lab_server: JupyterStatus, kernel: str
) -> None:
    kernel_process = psutil.Process(int(laptop.jupyter().run(kernel, "import os; os.getpid()")))
    end(laptop)
    assert processes.is_live(kernel_process)
    laptop.up()
    assert processes.is_live(kernel_process)
    check_the_same(laptop, lab_server, kernel)


def test_it_comes_back_by_itself_after_sshd_restarts(
    laptop: Laptop, lab_server: JupyterStatus, kernel: str, lab_sshd: Sshd
) -> None:
    before = laptop.tunnel()["reconnects"]
    lab_sshd.restart()
    laptop.jtunnel.wait_tunnel(
        NAME, lambda tunnel: tunnel["state"] == "up" and tunnel["reconnects"] > before, 30.0
    )
    check_the_same(laptop, lab_server, kernel)


def test_restart_renews_the_connection_and_not_the_server(
    laptop: Laptop, lab_server: JupyterStatus, kernel: str
) -> None:
    laptop.jtunnel.check("restart", NAME)
    assert laptop.tunnel()["state"] == "up"
    check_the_same(laptop, lab_server, kernel)


def test_two_laptops_use_one_server(laptop: Laptop, lab_server: JupyterStatus, lab_account: Account) -> None:
    """The fixture's laptop started it; this one brings its token's address without asking that one."""
    found = laptop.up()
    assert (found["pid"], found["host"], found["root_dir"]) == (
        lab_server["pid"],
        lab_server["host"],
        lab_server["root_dir"],
    )
    token_file = lab_account.path(f".local/share/jtunnel/{NAME}.token")
    with open(token_file) as file:
        assert file.read() == laptop.jupyter().token


def test_stop_leaves_a_busy_kernel_alone(laptop: Laptop, lab_server: JupyterStatus, kernel: str) -> None:
    assert lab_server["pid"] is not None
    with laptop.jupyter().kernel(kernel) as connection:
        connection.keep_busy()
        stopped = laptop.jtunnel.run("stop", NAME)
        assert (stopped.returncode, stopped.stdout) == (1, "")
        assert "1 kernel is busy" in stopped.stderr
        assert "--force" in stopped.stderr
        with laptop.jtunnel.spawn("stop", NAME) as terminal:
            terminal.wait_for("1 kernel is busy; stop anyway? (yes/no) ")
            terminal.type("no\r")
            assert terminal.wait() == 1, terminal.shown
    assert psutil.Process(lab_server["pid"]).is_running()
    assert laptop.server()["pid"] == lab_server["pid"]
    laptop.jupyter().ask("POST", f"/api/kernels/{kernel}/interrupt")
    check_the_same(laptop, lab_server, kernel)


def test_logs_show_what_jupyter_wrote(laptop: Laptop, kernel: str) -> None:
    assert f"Kernel started: {kernel}" in laptop.jtunnel.check("logs", NAME, "--remote")
    assert "[gpu] up" in laptop.jtunnel.check("logs", NAME)


def test_the_token_is_nowhere_to_be_read(laptop: Laptop, lab_server: JupyterStatus, kernel: str) -> None:
    token = laptop.jupyter().token
    laptop.jtunnel.check("down", NAME)
    laptop.up()
    shown = [
        laptop.jtunnel.check(*words)
        for words in (
            ["status", "--json"],
            ["status"],
            ["logs"],
            ["logs", NAME, "--remote"],
            ["rpc", "status"],
        )
    ]
    assert not [text for text in shown if token in text]
    files = [
        os.path.join(directory, name)
        for directory, _, names in os.walk(laptop.home.path)
        for name in names
        if stat.S_ISREG(os.lstat(os.path.join(directory, name)).st_mode)
    ]
    assert len(files) > 3, files
    assert [path for path in files if token.encode() in read_bytes(path)] == []
    assert processes_showing(token) == []


def processes_showing(token: str) -> list[psutil.Process]:
    """The processes of anybody whose arguments have the token in them."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(token in word for word in process.info["cmdline"] or ())
    ]


def read_bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def test_only_the_user_can_read_what_is_kept_there(
    laptop: Laptop, lab_server: JupyterStatus, lab_account: Account
) -> None:
    laptop.up()
    assert lab_server["target"] is not None
    socket = lab_server["target"].removeprefix("unix:")
    places = [lab_account.path(".local/share/jtunnel"), os.path.dirname(socket)]
    modes = {}
    for directory in places:
        for path in [directory, *(entry.path for entry in os.scandir(directory))]:
            status = os.lstat(path)
            assert (status.st_uid, status.st_gid) == (lab_account.uid, lab_account.gid), path
            modes[path] = stat.S_IMODE(status.st_mode) & 0o077
    assert lab_account.path(f".local/share/jtunnel/{NAME}.token") in modes
    assert socket in modes
    assert {path for path, others in modes.items() if others} == set()
