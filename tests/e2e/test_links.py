"""Links over OpenSSH's sshd: which profiles share one, jump hosts, restarts, and what is negotiated."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest

from tests.support.accounts import Account
from tests.support.client import Jtunnel
from tests.support.home import Home
from tests.support.keys import Key, make_key
from tests.support.profiles import profile
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, dial, echoes, free_port, listens


def connections(jtunnel: Jtunnel, server: Sshd) -> int:
    """How many TCP connections the daemon has to an SSH server."""
    sockets = psutil.Process(jtunnel.daemon_pid()).net_connections("tcp")
    return [entry.raddr[1:] for entry in sockets].count((server.port,))


@pytest.fixture
def hosts(home: Home, host_key: Key, client_key: Key, account: Account) -> Iterator[dict[str, Sshd]]:
    """Three more servers, known by these names."""
    with ExitStack() as stack:
        servers = {}
        for name in ("gate", "bastion", "node"):
            servers[name] = stack.enter_context(Sshd(host_key, account, authorized=[client_key]))
            port = servers[name].port
            home.add_host(name, port=port, user=account.name, identity=client_key, host_key=host_key)
        yield servers


def test_equal_destinations_share_a_link(
    jtunnel: Jtunnel, box: Sshd, echo: EchoServer, account: Account, client_key: Key, home: Home
) -> None:
    # Another name for the same host, user, port, keys and trust.
    home.add_host("twin", port=box.port, user=account.name, identity=client_key, host_key=None)
    ports = [free_port() for _ in range(3)]
    jtunnel.write_config(
        profile("a", f"{ports[0]}:{echo.target}")
        + profile("b", f"{ports[1]}:{echo.target}")
        + profile("c", f"{ports[2]}:{echo.target}", host="twin")
    )
    jtunnel.check("up", "--all")
    assert connections(jtunnel, box) == 1
    with dial(ports[0]) as first, dial(ports[1]) as second:
        assert echoes(first)
        assert echoes(second)
        jtunnel.check("down", "a", "c")
        assert not listens(ports[0])
        assert echoes(second)
        assert connections(jtunnel, box) == 1
    jtunnel.check("down", "b")
    assert connections(jtunnel, box) == 0
    jtunnel.check("up", "c")
    assert connections(jtunnel, box) == 1


def test_what_is_not_shared(
    jtunnel: Jtunnel, box: Sshd, echo: EchoServer, home: Home, tmp_path: os.PathLike[str], client_key: Key
) -> None:
    other_key = make_key(os.fspath(tmp_path))
    box.authorize(other_key)
    copy = os.path.join(home.path, "known")
    with open(home.known_hosts) as known, open(copy, "w") as file:
        file.write(known.read())
    jtunnel.write_config(
        profile("a")
        + profile("alone", share=False)
        + profile("key", identity_files=[other_key.path])
        + profile("trust", known_hosts=copy)
        + profile("same")
    )
    for count, name in enumerate(("a", "alone", "key", "trust"), 1):
        jtunnel.check("up", name)
        assert connections(jtunnel, box) == count
    jtunnel.check("up", "same")
    assert connections(jtunnel, box) == 4


def test_restart_renews_the_link_and_names_who_shares_it(
    jtunnel: Jtunnel, box: Sshd, echo: EchoServer
) -> None:
    port, other, apart = free_port(), free_port(), free_port()
    jtunnel.write_config(
        profile("a", f"{port}:{echo.target}")
        + profile("b", f"{other}:{echo.target}")
        + profile("c", f"{apart}:{echo.target}", share=False)
    )
    jtunnel.check("up", "--all")
    before = set(box.sessions())
    with dial(apart) as stream:
        ended = jtunnel.run("restart", "a")
        assert ended.returncode == 0, ended.stderr
        assert "shared: b\n" in ended.stderr
        assert echoes(stream)
    jtunnel.wait_state("b", "up")
    assert [tunnel["reconnects"] for tunnel in jtunnel.status()["tunnels"]] == [1, 1, 0]
    assert not before.issuperset(box.sessions())
    for local in (port, other):
        with dial(local) as client:
            assert echoes(client)


def test_a_jump_host_of_ssh_config(
    jtunnel: Jtunnel,
    box: Sshd,
    hosts: dict[str, Sshd],
    echo: EchoServer,
    home: Home,
    account: Account,
    client_key: Key,
) -> None:
    home.add_host(
        "inner",
        port=box.port,
        user=account.name,
        identity=client_key,
        host_key=None,
        options={"ProxyJump": "bastion"},
    )
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}", host="inner"))
    jtunnel.check("up")
    with dial(port) as client:
        assert echoes(client)
    assert jtunnel.tunnel("a")["via"] == ["bastion"]
    assert connections(jtunnel, box) == 0
    assert connections(jtunnel, hosts["bastion"]) == 1
    assert box.sessions()
    jtunnel.check("down")
    assert connections(jtunnel, hosts["bastion"]) == 0


def test_several_jump_hosts_of_a_profile_and_a_shared_one(
    jtunnel: Jtunnel, box: Sshd, hosts: dict[str, Sshd], echo: EchoServer
) -> None:
    far, near, outer = free_port(), free_port(), free_port()
    jtunnel.write_config(
        profile("far", f"{far}:{echo.target}", host="box", jump=["gate", "bastion"])
        + profile("near", f"{near}:{echo.target}", host="node", jump="gate")
        + profile("outer", f"{outer}:{echo.target}", host="gate")
    )
    jtunnel.check("up", "--all")
    assert [tunnel["via"] for tunnel in jtunnel.status()["tunnels"]] == [["gate", "bastion"], ["gate"], []]
    counts = {name: connections(jtunnel, server) for name, server in hosts.items()}
    assert counts == {"gate": 1, "bastion": 0, "node": 0}
    assert connections(jtunnel, box) == 0
    assert hosts["bastion"].sessions()
    with dial(near) as stream:
        assert echoes(stream)
        with dial(far) as client:
            assert echoes(client)
        jtunnel.check("down", "far", "outer")
        assert echoes(stream)
    assert not hosts["bastion"].sessions()


def test_a_jump_host_that_goes_takes_the_link_above_it_along(
    jtunnel: Jtunnel, box: Sshd, hosts: dict[str, Sshd], echo: EchoServer
) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}", jump="bastion"))
    jtunnel.check("up")
    hosts["bastion"].stop()
    tunnel = jtunnel.wait_tunnel(
        "a",
        lambda tunnel: bool(
            tunnel["problem"] and tunnel["problem"]["message"].startswith("jump host bastion: ")
        ),
    )
    assert tunnel["state"] == "retrying"
    hosts["bastion"].start()
    jtunnel.wait_state("a", "up")
    with dial(port) as client:
        assert echoes(client)


def test_aes_gcm_and_no_compression(
    jtunnel: Jtunnel, sshd: Sshd, home: Home, account: Account, client_key: Key, host_key: Key
) -> None:
    sshd.restart(options={"LogLevel": "DEBUG1", "Compression": "yes"})
    home.add_host(
        "box",
        port=sshd.port,
        user=account.name,
        identity=client_key,
        host_key=host_key,
        options={"Compression": "yes"},
    )
    jtunnel.write_config(profile("a"))
    jtunnel.check("up")
    for direction in ("client->server", "server->client"):
        line = sshd.log.wait_for(f"kex: {direction} cipher: ", 10)
        assert " cipher: aes128-gcm@openssh.com " in line
        assert " compression: none" in line
