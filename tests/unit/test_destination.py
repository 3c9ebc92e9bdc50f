"""What ssh_config(5) makes of a profile's words, and which destinations may share a connection."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from jtunnel.errors import LinkError
from jtunnel.ssh.destination import Destination, Resolved
from jtunnel.ssh.resolve import resolve

CONFIG = """
Include more.conf

Host box
  HostName box.example
  User me
  Port 2200
  IdentityFile ~/.ssh/box_key

Host same
  HostName box.example
  User me
  Port 2200
  IdentityFile ~/.ssh/box_key

Host inner
  ProxyJump me@first.example:2201,second

Host second
  HostName second.example
  HostKeyAlias two

Host piped
  ProxyCommand nc %h %p 2>/dev/null

Match host matched exec "true"
  User from-match

Host loop-a
  ProxyJump loop-b
Host loop-b
  ProxyJump loop-a

Host *.lan
  ProxyJump gate.lan
"""


@pytest.fixture
def home_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".ssh").mkdir(mode=0o700)
    (tmp_path / ".ssh" / "config").write_text(CONFIG)
    (tmp_path / ".ssh" / "more.conf").write_text("Host included\n  User from-include\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def look_up(destination: Destination, home: Path) -> Resolved:
    return asyncio.run(resolve(destination, {"HOME": str(home), "SSH_AUTH_SOCK": "/agent"}))


def test_hosts_get_what_ssh_config_says(home_dir: Path) -> None:
    box = look_up(Destination("box"), home_dir)
    assert (box.host, box.user, box.port) == ("box.example", "me", 2200)
    assert box.identity_files == (f"{home_dir}/.ssh/box_key",)
    assert box.user_known_hosts[0] == f"{home_dir}/.ssh/known_hosts"
    assert box.identity_agent is None


def test_the_profile_comes_before_ssh_config(home_dir: Path) -> None:
    box = look_up(Destination("box", user="you", port=22), home_dir)
    assert (box.user, box.port) == ("you", 22)


def test_include_and_match_exec(home_dir: Path) -> None:
    assert look_up(Destination("included"), home_dir).user == "from-include"
    assert look_up(Destination("matched"), home_dir).user == "from-match"


def test_no_ssh_config_at_all_when_told_so(home_dir: Path) -> None:
    assert look_up(Destination("box", ssh_config=False, user="x"), home_dir).host == "box"


def test_jump_hosts_hang_one_on_another(home_dir: Path) -> None:
    inner = look_up(Destination("inner"), home_dir)
    assert inner.via == ("first.example", "second")
    assert inner.jump is not None
    second = look_up(inner.jump, home_dir)
    assert (second.host, second.via) == ("second.example", ("first.example",))
    assert second.jump is not None
    assert (second.jump.host, second.jump.user, second.jump.port) == ("first.example", "me", 2201)


def test_the_profile_can_set_and_switch_off_jumps(home_dir: Path) -> None:
    assert look_up(Destination("inner", jump=()), home_dir).via == ()
    assert look_up(Destination("box", jump=("gate",)), home_dir).via == ("gate",)


def test_a_jump_host_does_not_jump_over_itself(home_dir: Path) -> None:
    assert look_up(Destination("a.lan"), home_dir).via == ("gate.lan",)


def test_a_loop_of_jump_hosts_is_named(home_dir: Path) -> None:
    with pytest.raises(LinkError, match="loop: loop-a > loop-b > loop-a"):
        look_up(Destination("loop-a"), home_dir)


def test_a_broken_ssh_config_is_one_line(home_dir: Path) -> None:
    (home_dir / ".ssh" / "config").write_text("Host box\n  Port many\n")
    with pytest.raises(LinkError) as caught:
        look_up(Destination("box"), home_dir)
    assert caught.value.kind == "host-unreachable"
    assert "\n" not in str(caught.value)
    assert "ssh_config" in caught.value.message


def test_equal_connections_share_whatever_they_are_called(home_dir: Path) -> None:
    assert look_up(Destination("box"), home_dir).key == look_up(Destination("same"), home_dir).key


@pytest.mark.parametrize(
    "other",
    [
        Destination("second", user="me", port=2200),
        Destination("box", user="you"),
        Destination("box", port=1),
        Destination("box", identity_files=("/k",)),
        Destination("box", known_hosts=("/k",)),
        Destination("box", jump=("gate",)),
        Destination("box", keepalive_interval_s=9),
    ],
)
def test_connections_that_differ_in_anything_do_not_share(home_dir: Path, other: Destination) -> None:
    assert look_up(Destination("box"), home_dir).key != look_up(other, home_dir).key


def test_a_host_key_alias_is_a_difference(home_dir: Path) -> None:
    assert (
        look_up(Destination("second.example"), home_dir).key != look_up(Destination("second"), home_dir).key
    )
