"""Nodes that share a home: each has a host name and a boot of its own, in namespaces of the kernel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ServerError
from jtunnel.jupyter.find import find
from jtunnel.jupyter.jupyter import Jupyter
from jtunnel.jupyter.probe import probe
from jtunnel.jupyter.stop import busy_kernels, stop
from jtunnel.service.search import ANY_WISH, Wish, search
from jtunnel.service.server import ElsewhereError, Server
from jtunnel.tunnel.server import ServerLife
from tests.support import processes
from tests.support.local_remote import LocalRemote, RemoteHome, new_home, new_key, run

pytestmark = pytest.mark.root

OPTIONS = JupyterOptions(allow_root=True)
#: A login shell on a node. Only /bin/sh is the shell of what it starts.
SHELL = """\
#!/bin/sh
SHELL=/bin/sh
exec unshare --uts --mount /bin/sh -c '
echo {node} >/proc/sys/kernel/hostname
mount --bind "$HOME/{node}.boot" /proc/sys/kernel/random/boot_id
exec /bin/sh "$@"' sh "$@"
"""

Nodes = Callable[[str], LocalRemote]


@pytest.fixture
def home(jupyter_bin: str) -> Iterator[RemoteHome]:
    with new_home(jupyter_bin) as made:
        yield made


@pytest.fixture
def key() -> str:
    return new_key()


@pytest.fixture
def log_in(home: RemoteHome) -> Nodes:
    """Connections to a node by its name."""

    def connect(node: str) -> LocalRemote:
        home.write(f"{node}.boot", f"boot-of-{node}\n")
        home.env["SHELL"] = home.write(f"{node}.sh", SHELL.format(node=node), mode=0o755)
        home.env["SSH_CONNECTION"] = f"10.1.0.1 50000 10.1.0.{node[-1]} 22"
        return home.connect()

    return connect


def servers(home: RemoteHome) -> set[int]:
    """The processes of the Jupyter servers that run in that home."""
    running = processes.running_with("HOME", home.path)
    return {process.pid for process in running if "root_dir" in " ".join(processes.command_line(process))}


async def refused_on(remote: LocalRemote, key: str, wish: Wish | None = None) -> ElsewhereError:
    """What a search says there, and what a start says."""
    wishes = (wish,) if wish else ()
    with pytest.raises(ElsewhereError) as found:
        await find(remote, OPTIONS, key, *wishes)
    with pytest.raises(ElsewhereError) as started:
        await Jupyter(OPTIONS, key).start(remote, None, *wishes)
    assert found.value.problem == started.value.problem
    return found.value


@pytest.mark.long
def test_each_node_keeps_its_server(home: RemoteHome, key: str, log_in: Nodes) -> None:
    """Another one is started there only when a person wants that; no node touches what another has.

    Here they share their sockets too, so that a word to the wrong one would do harm.
    """

    async def main() -> None:
        first = await Jupyter(OPTIONS, key).start(log_in("ln03"))
        assert (first.host, first.names) == ("ln03", ("10.1.0.3",))
        ln02 = log_in("ln02")
        error = await refused_on(ln02, key)
        assert (error.kind, error.node, error.names) == ("server-gone", "ln03", ("10.1.0.3",))
        assert f"of {key} lives on ln03, and this connection led to ln02" in error.message
        assert 'host = "ln03"' in error.advice
        assert f"jtunnel up {key}" in error.advice
        with pytest.raises(ElsewhereError):
            await stop(ln02, first, key)
        with pytest.raises(ElsewhereError):
            await busy_kernels(ln02, first)
        assert ln02.opened == []
        assert servers(home) == {first.pid}

        assert not await Jupyter(OPTIONS, key).is_still_there(ln02, first, timeout_s=10)
        second = await Jupyter(OPTIONS, key).start(ln02, None, Wish(here=True))
        assert (second.host, second.token) == ("ln02", first.token)
        assert servers(home) == {first.pid, second.pid}
        assert await find(log_in("ln03"), OPTIONS, key) == first
        assert await find(log_in("ln02"), OPTIONS, key) == second
        assert (await refused_on(log_in("ln01"), key)).node == "ln02"
        # Who has used one is not given the other.
        assert (await refused_on(log_in("ln02"), key, Wish(last=first))).node == "ln03"
        # Its node was preferred: the older one elsewhere does not come back in its place.
        await stop(log_in("ln02"), second, key)
        assert (await search(log_in("ln02"), OPTIONS, key, ANY_WISH)).others == ()
        assert (await refused_on(log_in("ln01"), key)).node == "ln03"
        await stop(log_in("ln03"), first, key)
        assert await find(log_in("ln01"), OPTIONS, key) is None

    run(main())
    assert servers(home) == set()


@pytest.mark.long
def test_a_tunnel_on_another_node(home: RemoteHome, key: str, log_in: Nodes) -> None:
    """Its server is neither given up nor replaced, also where no home is shared; unless a person says so."""
    steps: list[str] = []

    def changed() -> None:
        pass

    async def bring_up(life: ServerLife, remote: LocalRemote) -> Server:
        await life.bring_up(remote, steps.append, changed)
        assert life.current is not None
        return life.current

    async def main(away: RemoteHome) -> None:
        life = ServerLife(key, Jupyter(replace(OPTIONS, listen="tcp"), key), "box")
        first = await bring_up(life, log_in("ln03"))
        steps.clear()
        home.env["HOME"] = away.path
        elsewhere = log_in("ln02")
        home.env["HOME"] = home.path
        for remote in (log_in("ln02"), elsewhere):
            for _ in range(2):
                with pytest.raises(ElsewhereError, match=f"of {key} lives on ln03, and box led to ln02;"):
                    await bring_up(life, remote)
                life.allow_start()
            with pytest.raises(ElsewhereError):
                await probe(remote, first, timeout_s=10)
        assert life.state == "not-answering"
        assert await bring_up(life, log_in("ln03")) == first
        assert steps == []
        assert servers(home) == {first.pid}
        with pytest.raises(ElsewhereError):
            await bring_up(life, log_in("ln02"))
        # These nodes see each other's processes; without its runtime file, nobody here would adopt one.
        os.unlink(os.path.join(home.path, f".local/share/jupyter/runtime/jpserver-{first.pid}.json"))
        life.allow_start(here=True)
        second = await bring_up(life, log_in("ln02"))
        assert (second.host, second.origin) == ("ln02", "started")
        assert servers(home) == {first.pid, second.pid}
        # For this once: from now on this is the server that must not be replaced.
        with pytest.raises(ElsewhereError, match="lives on ln02, and box led to ln03"):
            await bring_up(life, log_in("ln03"))
        await stop(log_in("ln02"), second, key)
        with pytest.raises(ServerError, match="is gone, and its kernels with it"):
            await bring_up(life, log_in("ln02"))
        await stop(log_in("ln03"), first, key)

    with new_home() as away:
        for node in ("ln02", "ln03"):
            away.write(f"{node}.boot", f"boot-of-{node}\n")
        run(main(away))
    assert servers(home) == set()


@pytest.mark.parametrize("names", ["", "ln03.cluster.example 10.1.0.3"])
def test_a_record_of_any_version_names_its_node(
    home: RemoteHome, key: str, log_in: Nodes, names: str
) -> None:
    """Version 0.1 wrote no names. Where a server may be adopted here, that makes no difference."""
    started = '"pid": 1,\n "started": "5@boot-of-ln03",\n "host": "ln03",'
    told = f'\n "names": "{names}",' if names else ""
    rest = (
        '"address": null,\n "port": null,\n "sock": "/tmp/x",\n "base_url": "/",\n "version": null,\n'
        ' "root_dir": "/",\n "origin": "adopted",\n "password": false,\n "log": null,\n'
        ' "user_interface": "lab",\n "command": null,\n "ready": true'
    )
    home.write(f".local/share/jtunnel/{key}@ln03.json", f"{{\n {started}{told}\n {rest}\n}}\n")
    error = run(refused_on(log_in("ln02"), key))
    assert (error.node, error.names) == ("ln03", tuple(names.split()))
    assert run(find(log_in("ln02"), replace(OPTIONS, remote_port=9999), key)) is None
    assert run(find(log_in("ln02"), OPTIONS, key, Wish(here=True))) is None
    assert os.listdir(os.path.join(home.path, ".local/share/jtunnel")) == [f"{key}@ln03.json"]
