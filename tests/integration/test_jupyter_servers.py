"""All servers of this user on a node: listed, chosen among, adopted; each is a process with a socket."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from jtunnel.config.profile import Environment, JupyterOptions
from jtunnel.errors import ConfigError, ServerError
from jtunnel.jupyter.adopting import adopt
from jtunnel.jupyter.find import find
from jtunnel.jupyter.listing import list_servers
from jtunnel.jupyter.probe import probe
from jtunnel.service.server import Server
from jtunnel.status import ServerListing
from tests.support.fake_jupyter import FakeJupyter, runtime_file, start_fake
from tests.support.local_remote import RemoteHome, new_home, run

OPTIONS = JupyterOptions(allow_root=True)
NEVER = replace(OPTIONS, start="never")
NODE = os.uname().nodename
RUNTIME = ".local/share/jupyter/runtime"
STATE = ".local/share/jtunnel"
TOKEN = "geheim-0123456789"

Start = Callable[..., FakeJupyter]


@pytest.fixture
def home() -> Iterator[RemoteHome]:
    with new_home() as made:
        yield made


@pytest.fixture
def start(home: RemoteHome) -> Iterator[Start]:
    """Starts one in the home; they all end with the test."""
    running: list[FakeJupyter] = []

    def started(*options: str, **more: object) -> FakeJupyter:
        running.append(start_fake(home, *options, **more))  # type: ignore[arg-type]
        return running[-1]

    yield started
    for fake in running:
        fake.process.kill()
        fake.process.wait()


def usual(home: RemoteHome) -> str:
    """The option for the usual runtime directory."""
    return f"--ServerApp.runtime_dir={home.path}/{RUNTIME}"


def listed(home: RemoteHome, fakes: list[FakeJupyter], key: str = "gpu") -> list[ServerListing]:
    """What is listed of these; a machine may run others."""
    document = run(list_servers(home.connect(), OPTIONS, key))
    assert document["node"] == NODE
    assert TOKEN not in json.dumps(document)
    found = {server["pid"]: server for server in document["servers"]}
    return [found[fake.pid] for fake in fakes if fake.pid in found]


def test_servers_are_found_wherever_their_files_are(home: RemoteHome, start: Start) -> None:
    odd = f"{home.path}/odd place"
    token = f"--token={TOKEN}"
    fakes = [
        start(usual(home), token),
        start(token, JUPYTER_RUNTIME_DIR=odd),
        start("--ServerApp.runtime_dir=below", token),
        start(usual(home), token, f"--sock={home.path}/own.sock"),
        start(token),
        start(usual(home), token),
    ]
    # Another node's `jupyter server list` has deleted one, and a full disk has emptied another.
    home.write(f"{RUNTIME}/jpserver-{fakes[5].pid}.json", "")
    servers = listed(home, fakes)
    assert [server["pid"] for server in servers] == [fake.pid for fake in fakes]
    for server, fake in zip(servers[:4], fakes, strict=False):
        assert server["problem"] is None
        assert (server["version"], server["kernels"], server["busy"]) == ("9.9.9", 2, 1)
        assert (server["origin"], server["root_dir"], server["environment"]) == ("other", "/srv", "/usr")
        assert server["started_at"] is not None
        place = f"127.0.0.1:{fake.port}" if fake.port else f"unix:{home.path}/own.sock"
        assert server["target"] == place
    for server, fake in zip(servers[4:], fakes[4:], strict=True):
        assert server["problem"] == "its runtime file is gone or broken, and its token is not known"
        assert server["target"] == f"127.0.0.1:{fake.port}"


def test_files_that_their_process_does_not_bear_out(home: RemoteHome, start: Start) -> None:
    """A number that another process has now; a port that another one holds."""
    other = start()
    fake, copied, reused = start(usual(home)), start(), start()
    home.write(f"{RUNTIME}/jpserver-{fake.pid}.json", runtime_file(fake, port=other.port, token=TOKEN))
    home.write(f"{RUNTIME}/jpserver-{copied.pid}.json", runtime_file(fake, port=copied.port))
    stale = home.write(f"{RUNTIME}/jpserver-{reused.pid}.json", runtime_file(reused))
    os.utime(stale, (1e9, 1e9))
    # Not one of Jupyter's at all, and older than its process.
    bystander = subprocess.Popen(["sleep", "100"])
    left = home.write(f"{RUNTIME}/jpserver-{bystander.pid}.json", json.dumps({"base_url": "/", "port": 1}))
    os.utime(left, (1e9, 1e9))
    try:
        document = run(list_servers(home.connect(), OPTIONS, "gpu"))
        servers = {server["pid"]: server for server in document["servers"]}
    finally:
        bystander.kill()
        bystander.wait()
    assert bystander.pid not in servers
    assert f"port {other.port}, which" in str(servers[fake.pid]["problem"])
    for pid in (copied.pid, reused.pid):
        assert "its runtime file is gone or broken" in str(servers[pid]["problem"])
    assert os.path.exists(stale)
    assert os.path.exists(left)


def test_what_a_crashed_run_left_is_taken_again(home: RemoteHome, start: Start) -> None:
    """A server that was started for this profile, and has no record; another profile leaves it alone."""
    home.write(f"{STATE}/gpu.token", TOKEN)
    with open(home.write(f"{STATE}/gpu@{NODE}.log", ""), "ab") as log:
        orphan = start(f"--token={TOKEN}", output=log)
    newer = start(usual(home), f"--root={home.path}/x")
    for key in ("gpu", "other"):
        (server,) = listed(home, [orphan], key)
        assert (server["origin"], server["profile"], server["used_by"]) == ("jtunnel", "gpu", [])
        assert (server["problem"] is None) == (key == "gpu")
    # The log was put aside for the next start.
    os.rename(f"{home.path}/{STATE}/gpu@{NODE}.log", f"{home.path}/{STATE}/gpu@{NODE}.log.1")
    remote = home.connect()
    found = run(find(remote, OPTIONS, "gpu"))
    assert found is not None
    assert (found.pid, found.origin, found.token) == (orphan.pid, "started", TOKEN)
    assert run(find(remote, OPTIONS, "gpu")) == found
    (server,) = listed(home, [orphan])
    assert (server["used_by"], server["used"]) == (["gpu"], True)
    other = run(find(remote, OPTIONS, "other"))
    assert other is not None
    assert other.pid == newer.pid


def test_a_profile_does_not_take_what_jtunnel_started_for_another(home: RemoteHome, start: Start) -> None:
    """But for the same directory; or where it starts none itself and nothing better is there."""
    with open(home.write(f"{STATE}/gpu@{NODE}.log", ""), "ab") as log:
        start(usual(home), f"--root={home.path}/gpu", output=log)
        shared = start(usual(home), f"--root={home.path}", output=log)
    os.mkdir(f"{home.path}/gpu")
    remote = home.connect()
    assert run(find(remote, replace(OPTIONS, directory="~/other"), "other")) is None
    found = run(find(remote, OPTIONS, "other"))
    assert found is not None
    assert (found.pid, found.origin) == (shared.pid, "adopted")
    shared.process.kill()
    shared.process.wait()
    assert run(find(remote, OPTIONS, "third")) is None
    found = run(find(remote, NEVER, "third"))
    assert found is not None
    assert found.root_dir == f"{home.path}/gpu"


def test_only_servers_of_the_wanted_environment_count(home: RemoteHome, start: Start) -> None:
    """Real paths are compared: what a venv's python is a link to is not its environment."""
    for name in ("torch", "jax"):
        os.makedirs(f"{home.path}/envs/{name}/bin")
        os.symlink(sys.executable, f"{home.path}/envs/{name}/bin/python")
    os.symlink(f"{home.path}/envs/torch", f"{home.path}/link")
    torch = start(usual(home), python=f"{home.path}/envs/torch/bin/python")
    jax = start(usual(home), python=f"{home.path}/envs/jax/bin/python")
    wishes = {
        Environment(venv="~/envs/torch"): torch,
        Environment(venv="~/link"): torch,
        Environment(python=f"{home.path}/envs/torch/bin/python"): torch,
        Environment(conda_env="torch"): torch,
        Environment(conda_env=f"{home.path}/envs/jax"): jax,
    }
    for number, (wish, fake) in enumerate(wishes.items()):
        options = replace(OPTIONS, environment=wish)
        found = run(find(home.connect(), options, f"k{number}"))
        assert found is not None, wish
        assert found.pid == fake.pid, wish
    with pytest.raises(ServerError, match=r"its environment is .*/envs/jax"):
        run(find(home.connect(), replace(NEVER, environment=Environment(conda_env="none")), "gpu"))


def test_adopted_by_pid_port_or_address_and_for_good(home: RemoteHome, start: Start) -> None:
    first = start(usual(home), f"--token={TOKEN}")
    second = start(usual(home), f"--token={TOKEN}")

    async def main() -> None:
        remote = home.connect()
        found = await find(remote, OPTIONS, "gpu")
        assert found is not None
        assert found.pid == second.pid
        for which in (str(first.pid), str(first.port), f"http://localhost:{first.port}/lab/tree/x.ipynb"):
            adopted = await adopt(remote, OPTIONS, "gpu", which)
            assert (adopted.pid, adopted.origin, adopted.token) == (first.pid, "adopted", TOKEN)
        # Though another is newer.
        assert await find(remote, OPTIONS, "gpu") == adopted
        with pytest.raises(ServerError, match=f"remote_port is {first.port}"):
            await adopt(remote, replace(OPTIONS, remote_port=first.port), "gpu", str(second.pid))
        with pytest.raises(ServerError, match=f"no Jupyter server of yours has pid or port 1 on {NODE}"):
            await adopt(remote, OPTIONS, "gpu", "1")

    run(main())


def test_an_address_with_its_token_helps_where_the_file_is_gone(home: RemoteHome, start: Start) -> None:
    fake = start(f"--token={TOKEN}")
    secret = f"{home.path}/{STATE}/gpu@{NODE}.adopted"

    async def main() -> Server:
        remote = home.connect()
        with pytest.raises(ServerError, match="its token is not known") as caught:
            await adopt(remote, OPTIONS, "gpu", str(fake.pid))
        assert f"jtunnel adopt gpu 'http://127.0.0.1:{fake.port}/?token=…'" in caught.value.advice
        with pytest.raises(ServerError, match="refuses the token") as caught:
            await adopt(remote, OPTIONS, "gpu", f"http://localhost:{fake.port}/?token=wrong")
        assert "wrong" not in str(caught.value)
        adopted = await adopt(remote, OPTIONS, "gpu", f"http://localhost:{fake.port}/lab?token={TOKEN}")
        assert (await probe(remote, adopted, timeout_s=10)).kernels == 2
        assert await find(remote, OPTIONS, "gpu") == adopted
        return adopted

    adopted = run(main())
    assert (adopted.pid, adopted.user_interface) == (fake.pid, "lab")
    assert stat.S_IMODE(os.stat(secret).st_mode) == 0o600
    assert TOKEN not in home.read(f"{STATE}/gpu@{NODE}.json")
    # It is that process's, and goes when another is adopted.
    other = start(usual(home))
    run(adopt(home.connect(), OPTIONS, "gpu", str(other.pid)))
    assert not os.path.exists(secret)


@pytest.mark.root
def test_another_users_port_is_named_and_told_nothing(home: RemoteHome) -> None:
    code = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); "
        "input()"
    )
    stranger = subprocess.Popen(
        ["/usr/bin/python3", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=65534, cwd="/"
    )
    try:
        assert stranger.stdout is not None
        port = int(stranger.stdout.readline())
        remote = home.connect()
        for which in (str(port), f"http://localhost:{port}/?token={TOKEN}"):
            with pytest.raises(ServerError, match=f"port {port} on {NODE} is nobody's, not yours") as caught:
                run(adopt(remote, OPTIONS, "gpu", which))
            assert TOKEN not in str(caught.value)
        assert remote.opened == []
    finally:
        stranger.kill()
        stranger.communicate()


def test_a_name_that_is_none(home: RemoteHome) -> None:
    remote = home.connect()
    for which in ("", "gpu", "ftp://x", f"localhost:9999/?token={TOKEN}", "http://x:99999/"):
        with pytest.raises(ConfigError) as caught:
            run(adopt(remote, OPTIONS, "gpu", which))
        assert caught.value.kind == "usage"
        assert TOKEN not in str(caught.value)
    assert remote.commands == 0


def test_what_is_recorded_on_other_nodes_is_named(home: RemoteHome, start: Start) -> None:
    fake = start(usual(home))
    run(adopt(home.connect(), OPTIONS, "gpu", str(fake.pid)))
    record = json.loads(home.read(f"{STATE}/gpu@{NODE}.json")) | {"host": "ln03", "started": "5@elsewhere"}
    home.write(f"{STATE}/cpu@ln03.json", json.dumps(record, indent=1))
    document = asyncio.run(list_servers(home.connect(), OPTIONS, "gpu"))
    target = f"127.0.0.1:{fake.port}"
    assert document["elsewhere"] == [{"host": "ln03", "profile": "cpu", "pid": fake.pid, "target": target}]
