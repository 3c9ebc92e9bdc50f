"""Wrong configs, names, hosts and keys: an exit code and one clear line, and no other tunnel notices."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.client import Jtunnel
from tests.support.home import Home
from tests.support.keys import Key, make_key
from tests.support.profiles import profile
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, dial, echoes, free_port


@pytest.fixture
def good(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> Iterator[str]:
    """The profile of a tunnel that is up; its stream has to outlive whatever the test does."""
    port = free_port()
    config = profile("good", f"{port}:{echo.target}")
    jtunnel.write_config(config)
    jtunnel.check("up", "good")
    with dial(port) as stream:
        assert echoes(stream)
        yield config
        assert echoes(stream)
    tunnel = jtunnel.tunnel("good")
    assert (tunnel["state"], tunnel["reconnects"], tunnel["problem"]) == ("up", 0, None)


WRONG_CONFIGS = {
    "no TOML": ("[profiles.a\nhost = 1", "config.toml: line 1, column 12: not valid TOML: "),
    "an unknown key": (
        '[profiles.a]\nhost = "x"\nhots = "x"',
        'config.toml: profiles.a.hots: unknown key; did you mean "host"?',
    ),
    "a wrong type": (
        '[profiles.a]\nhost = "x"\nport = "22"',
        'config.toml: profiles.a.port: expected a port (1 to 65535), found the string "22"; leave out',
    ),
    "a wrong forward": (
        '[profiles.a]\nhost = "x"\nforwards = ["80:"]',
        "config.toml: profiles.a.forwards[0]: ",
    ),
    "no host": ("[profiles.a]", "config.toml: profiles.a.host: missing; expected "),
    "one port twice": (
        profile("a", "7001:localhost:1") + profile("b", "7001:localhost:2"),
        "config.toml: profiles.b.forwards[0]: 127.0.0.1:7001 is taken by profiles.a.forwards[0]; ",
    ),
    "no text": ("\udcff", "config.toml: line 1: not UTF-8 text (byte 0xff)"),
}


@pytest.mark.parametrize("case", WRONG_CONFIGS)
def test_a_wrong_config_without_a_daemon(jtunnel: Jtunnel, case: str) -> None:
    text, words = WRONG_CONFIGS[case]
    with open(jtunnel.home.config_file, "w", errors="surrogateescape") as file:
        file.write(text)
    for command in (("up", "a"), ("config", "check")):
        ended = jtunnel.run(*command)
        assert (ended.returncode, ended.stdout) == (2, "")
        line, *advice = ended.stderr.splitlines()
        assert words in line
        assert len(advice) <= 1
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("case", ["no TOML", "an unknown key"])
def test_a_wrong_config_while_a_tunnel_is_up(jtunnel: Jtunnel, good: str, case: str) -> None:
    text, _ = WRONG_CONFIGS[case]
    jtunnel.write_config(text)
    for words in (("up", "good"), ("up", "--all"), ("reload",)):
        ended = jtunnel.run(*words)
        assert ended.returncode == 2
        assert ended.stderr.startswith("jtunnel: config.toml: ")
        assert ended.stderr.count("\n") == 1
    assert jtunnel.run("status", "good").returncode == 0


def test_an_unknown_name_gets_the_nearest(jtunnel: Jtunnel, good: str) -> None:
    for command in ("up", "down", "restart", "url", "stop", "open", "status"):
        ended = jtunnel.run(command, "goood")
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.count("\n") == 1
        assert "no profile 'goood'" in ended.stderr
        assert "did you mean good?" in ended.stderr
    ended = jtunnel.run("up", "--tag", "nothing")
    assert ended.returncode == 2
    assert "nothing" in ended.stderr


def test_no_config_at_all(jtunnel: Jtunnel, home: Home, box: Sshd) -> None:
    for words in (("up",), ("up", "gpu"), ("up", "--all")):
        ended = jtunnel.run(*words)
        assert ended.returncode == 2
        assert home.config_file in ended.stderr
        assert ended.stderr.count("\n") == 1
    assert f"no profiles yet; describe one in {home.config_file}" in jtunnel.check("status")
    assert jtunnel.run("config", "check").returncode == 2
    # Once it is written, it is read.
    jtunnel.write_config(profile("gpu"))
    jtunnel.check("up")


def test_hosts_that_cannot_be_reached(jtunnel: Jtunnel, good: str) -> None:
    closed = free_port()
    jtunnel.write_config(
        good
        + profile("typo", host="no-such-host.invalid")
        + profile("refused", host="127.0.0.1", port=closed)
        + profile("loop", host="127.0.0.1", port=closed, jump=["127.0.0.1"])
        + profile("nofile", host="127.0.0.1", ssh_config="/nonexistent/config")
    )
    expected = {
        "typo": "the name no-such-host.invalid is not known",
        "refused": f"127.0.0.1:{closed} refuses connections",
        "loop": "the jump hosts form a loop",
        "nofile": "cannot read /nonexistent/config",
    }
    ended = jtunnel.run("up", *expected, "--timeout", "2")
    assert ended.returncode == 1
    last_lines = ended.stderr.splitlines()[-len(expected) :]
    for (name, words), line in zip(expected.items(), last_lines, strict=True):
        assert line.startswith(f"jtunnel: {name}: not up after 2 s: ")
        assert words in line
        assert f"jtunnel status {name}" in line
        tunnel = jtunnel.tunnel(name)
        assert tunnel["state"] == "retrying"
        assert tunnel["wanted"]
        assert tunnel["attempt"] > 0
        assert tunnel["problem"] is not None
        assert tunnel["problem"]["kind"] == "host-unreachable"
        assert tunnel["problem"]["advice"]
    assert jtunnel.run("status", "typo").returncode == 1


def test_a_port_that_speaks_no_ssh(jtunnel: Jtunnel, good: str, echo: EchoServer) -> None:
    jtunnel.write_config(good + profile("web", host="127.0.0.1", port=echo.port))
    ended = jtunnel.run("up", "web", "--timeout", "1")
    assert ended.returncode == 1
    tunnel = jtunnel.wait_tunnel("web", lambda tunnel: tunnel["problem"] is not None)
    assert tunnel["state"] == "retrying"
    assert tunnel["problem"] is not None
    assert tunnel["problem"]["kind"] == "host-unreachable"


def test_keys_that_do_not_fit(
    jtunnel: Jtunnel, good: str, box: Sshd, home: Home, host_key: Key, tmp_path: os.PathLike[str]
) -> None:
    key = make_key(os.fspath(tmp_path))
    user = box.account.name
    home.add_host("wrong", port=box.port, user=user, identity=key, host_key=None)
    home.add_host("missing", port=box.port, user=user, identity=Key("/nonexistent", ""), host_key=None)
    home.add_host("nobody", port=box.port, user="no-such-user", identity=key, host_key=None)
    names = ("wrong", "missing", "nobody")
    jtunnel.write_config(good + "".join(profile(name, host=name) for name in names))
    for name in names:
        ended = jtunnel.run("up", name)
        assert ended.returncode == 4
        line = ended.stderr.splitlines()[-1]
        assert line.startswith(f"jtunnel: {name}: 127.0.0.1:{box.port} refused the login of ")
        assert "ssh -v" in line
        assert jtunnel.blocked_by(name) == "auth-failed"
    # Blocked means that it does not go on trying: fail2ban would lock the person out.
    assert box.log.tail(1000).count("Connection closed by authenticating user") <= 2
    assert box.log.tail(1000).count("Connection closed by invalid user") <= 1


def test_wrong_usage(jtunnel: Jtunnel, good: str) -> None:
    jtunnel.write_config(good + profile("other"))
    for words, said in {
        ("up",): "no profile is named",
        ("stauts", "good"): "did you mean: jtunnel status",
        ("up", "--timeout", "soon"): "number of seconds",
        ("restart",): "no profile is named",
        ("rpc", "status", "{"): "one JSON object",
        ("rpc", "status", '{"name": "good"}'): "takes no parameter 'name'",
        ("rpc", "statsu"): "no method 'statsu'",
    }.items():
        ended = jtunnel.run(*words)
        assert ended.returncode == (1 if words[0] == "rpc" and len(words[-1]) > 1 else 2), ended
        assert said in ended.stderr
        assert ended.stdout == ""
        assert "Traceback" not in ended.stderr
