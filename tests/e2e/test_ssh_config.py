"""~/.ssh/config as OpenSSH reads it: Include, Match, ProxyCommand, HostKeyAlias, agents and their keys."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from tests.support.accounts import Account
from tests.support.client import Jtunnel
from tests.support.home import Home
from tests.support.keys import Key, make_key
from tests.support.profiles import profile
from tests.support.ssh_agent import SshAgent
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, dial, echoes, free_port


def test_a_proxy_command(
    jtunnel: Jtunnel,
    box: Sshd,
    echo: EchoServer,
    home: Home,
    account: Account,
    client_key: Key,
) -> None:
    command = " ".join(home.ssh("box", options=("-W", "%h:%p")))
    home.add_host(
        "inner",
        port=box.port,
        user=account.name,
        identity=client_key,
        host_key=None,
        options={"ProxyCommand": command},
    )
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}", host="inner"))
    jtunnel.check("up")
    with dial(port) as client:
        assert echoes(client)
    daemon = psutil.Process(jtunnel.daemon_pid())
    (proxy,) = daemon.children()
    assert proxy.name() == "ssh"
    jtunnel.check("down")
    assert not proxy.is_running() or proxy.status() == psutil.STATUS_ZOMBIE


def test_include_match_identity_file_and_host_key_alias(
    jtunnel: Jtunnel,
    sshd: Sshd,
    echo: EchoServer,
    home: Home,
    account: Account,
    client_key: Key,
    host_key: Key,
) -> None:
    with open(home.ssh_config, "w") as file:
        file.write(
            "Include conf.d/*.conf\n"
            f'Match originalhost gpu exec "test -e {home.path}/at-home"\n'
            f"  IdentityFile ~/keys/%r.key\n"
            "Host *\n"
            f"  User nobody-of-that-name\n"
        )
    os.mkdir(os.path.join(home.ssh_dir, "conf.d"))
    with open(os.path.join(home.ssh_dir, "conf.d", "gpu.conf"), "w") as file:
        file.write(
            f"Host gpu\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {account.name}\n"
            "  HostKeyAlias the-cluster\n"
        )
    with open(home.known_hosts, "w") as file:
        file.write(f"the-cluster {host_key.public}\n")
    os.mkdir(os.path.join(home.path, "keys"))
    os.symlink(client_key.path, os.path.join(home.path, "keys", f"{account.name}.key"))
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}", host="gpu"))
    ended = jtunnel.run("up")
    assert ended.returncode == 4, ended.stderr
    with open(os.path.join(home.path, "at-home"), "w"):
        jtunnel.check("up")
    with dial(port) as client:
        assert echoes(client)
    tunnel = jtunnel.tunnel("a")
    assert (tunnel["alias"], tunnel["host"], tunnel["user"]) == ("gpu", "127.0.0.1", account.name)


@pytest.fixture
def agent(home: Home) -> Iterator[str]:
    """An ssh-agent without keys, which the environment of `home` names."""
    with SshAgent(home, "agent.sock") as running:
        home.env["SSH_AUTH_SOCK"] = running.path
        yield running.path


def add_to_agent(home: Home, key: Key) -> None:
    """Put a key into the agent and remove its private file."""
    subprocess.run(["ssh-add", "-q", key.path], env=home.env, check=True, timeout=10)
    os.unlink(key.path)


def test_a_key_that_only_the_agent_has(
    jtunnel: Jtunnel,
    sshd: Sshd,
    agent: str,
    home: Home,
    account: Account,
    host_key: Key,
    tmp_path: os.PathLike[str],
) -> None:
    keys = [make_key(os.fspath(tmp_path), f"key{number}") for number in range(4)]
    for key in keys:
        add_to_agent(home, key)
    sshd.authorize(keys[-1])
    # Only one key may be tried: the one that IdentityFile names, though its private half is not there.
    sshd.restart(options={"MaxAuthTries": "1"})
    home.add_host("box", port=sshd.port, user=account.name, identity=keys[-1], host_key=host_key)
    jtunnel.write_config(profile("a"))
    jtunnel.check("up")


def test_identities_only_leaves_the_rest_of_the_agent_alone(
    jtunnel: Jtunnel,
    sshd: Sshd,
    agent: str,
    home: Home,
    account: Account,
    host_key: Key,
    client_key: Key,
    tmp_path: os.PathLike[str],
) -> None:
    inside = make_key(os.fspath(tmp_path), "inside")
    outside = make_key(os.fspath(tmp_path), "outside")
    add_to_agent(home, inside)
    home.add_host("strict", port=sshd.port, user=account.name, identity=outside, host_key=host_key)
    home.add_host("free", port=sshd.port, user=account.name, identity=None, host_key=None)
    sshd.authorize(inside)
    jtunnel.write_config(profile("strict", host="strict") + profile("free", host="free"))
    ended = jtunnel.run("up", "strict")
    assert ended.returncode == 4, ended.stderr
    assert jtunnel.blocked_by("strict") == "auth-failed"
    jtunnel.check("up", "free")


@pytest.mark.long
def test_an_agent_that_starts_after_the_daemon(
    jtunnel: Jtunnel, sshd: Sshd, home: Home, account: Account, host_key: Key, client_key: Key
) -> None:
    home.add_host("box", port=sshd.port, user=account.name, identity=None, host_key=host_key)
    jtunnel.write_config(profile("a"))
    assert jtunnel.run("up").returncode == 4
    assert jtunnel.blocked_by("a") == "auth-failed"
    # Where GNOME's keyring listens; nothing names it.
    with SshAgent(home, "keyring/ssh") as agent:
        agent.add(client_key)
        jtunnel.wait_state("a", "up", 20)
        sshd.log.wait_for("Accepted publickey", 5)


def test_a_match_exec_that_hangs_keeps_nobody_else_waiting(
    jtunnel: Jtunnel, box: Sshd, home: Home, echo: EchoServer
) -> None:
    hanging = os.path.join(home.path, "hanging")
    with open(hanging, "w"):
        names = [f"slow{number}" for number in range(12)]
    with open(home.ssh_config, "a") as file:
        file.write(
            f'Match originalhost slow* exec "while test -e {hanging}; do sleep 0.1; done; false"\n'
            "  User somebody-else\n"
        )
    port = free_port()
    jtunnel.write_config(
        "".join(profile(name, host=name) for name in names) + profile("a", f"{port}:{echo.target}")
    )
    try:
        jtunnel.check("up", "--no-wait", *names)
        jtunnel.check("up", "a", "--timeout", "5")
        with dial(port) as client:
            assert echoes(client)
        jtunnel.check("down", *names[1:], timeout=5)
        jtunnel.check("shutdown", timeout=6)
    finally:
        os.unlink(hanging)
