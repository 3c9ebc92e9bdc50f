"""Stopping a Jupyter server by its number: whose it is, what is lost, what it leaves when it is killed."""

from __future__ import annotations

import os
import subprocess

import psutil
import pytest

from jtunnel.address import TcpAddress
from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ServerError
from jtunnel.jupyter.jupyter import Jupyter
from jtunnel.jupyter.stop import stop_other
from tests.support import notebook, processes
from tests.support.local_remote import RemoteHome, new_home, new_key, run

OPTIONS = JupyterOptions(listen="tcp", allow_root=True)


def refusal(home: RemoteHome, key: str, pid: int) -> str:
    """Why that process is not stopped."""
    with pytest.raises(ServerError) as caught:
        run(stop_other(home.connect(), OPTIONS, key, pid, force=True))
    return caught.value.message


def left(home: RemoteHome, pid: int) -> list[str]:
    """Files below the home that name that process."""
    found = subprocess.run(
        ["grep", "-r", "-l", "-w", "-e", str(pid), ".local/share"],
        cwd=home.path,
        capture_output=True,
        text=True,
    )
    return sorted(os.path.basename(path) for path in found.stdout.splitlines())


def test_what_is_no_server_of_ours_is_left_alone() -> None:
    node = os.uname().nodename
    with new_home() as home:
        other = subprocess.Popen(["sleep", "600"], env=home.env)
        said = refusal(home, new_key(), other.pid)
        assert other.poll() is None
        other.kill()
        other.wait()
        assert said == f"pid {other.pid} on {node} is not a Jupyter server of yours"
        assert refusal(home, new_key(), other.pid) == f"pid {other.pid} on {node} is not a process"


@pytest.mark.long
def test_the_server_of_another_profile(jupyter_bin: str) -> None:
    """It is left alone while a kernel works, unless somebody insists; then nothing of it stays."""
    key, mine = new_key(), new_key()
    with new_home(jupyter_bin) as home:
        server = run(Jupyter(OPTIONS, key).start(home.connect()))
        assert isinstance(server.target, TcpAddress)
        jupyter = notebook.Jupyter(f"http://127.0.0.1:{server.target.port}/?token={server.token}")
        with jupyter.kernel(jupyter.begin_kernel()) as kernel:
            kernel.keep_busy()
        answer = run(stop_other(home.connect(), OPTIONS, mine, server.pid, force=False))
        assert answer == {"stopped": False, "busy": 1}
        process = psutil.Process(server.pid)
        assert processes.is_live(process)
        assert f"jpserver-{server.pid}.json" in left(home, server.pid)
        answer = run(stop_other(home.connect(), OPTIONS, mine, server.pid, force=True))
        assert answer == {"stopped": True, "pid": server.pid}
        assert not processes.await_end([process], 5)
        assert [name for name in left(home, server.pid) if not name.endswith(".log")] == []
        assert not processes.await_end(processes.running_with("HOME", home.path), 20)
