"""Forwards that are added by hand: read, checked against what there is, found again, dropped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.config.profile import Forward, JupyterOptions, Profile
from jtunnel.daemon.temporary import Temporary
from jtunnel.errors import ConfigError
from jtunnel.status import ForwardKind

OWN = Forward("6006", "local", TcpAddress("", 6006), TcpAddress("localhost", 6006))
GPU = Profile("gpu", "h", forwards=(OWN,), jupyter=JupyterOptions())
DB = Profile("db", "h", forwards=(Forward("pg", "local", TcpAddress("", 5432), TcpAddress("db", 5432)),))


def make() -> Temporary:
    return Temporary({"HOME": "/home/me"})


@pytest.mark.parametrize(
    ("spec", "kind", "name", "listen", "target"),
    [
        ("8787", "local", "8787", TcpAddress("", 8787), TcpAddress("localhost", 8787)),
        ("1:db:2", "local", "1", TcpAddress("", 1), TcpAddress("db", 2)),
        ("~/x.sock:/run/y", "local", "x.sock", UnixAddress("/home/me/x.sock"), UnixAddress("/run/y")),
        ("9000", "remote", "9000", TcpAddress("", 9000), TcpAddress("localhost", 9000)),
        ("0:localhost:22", "remote", "0", TcpAddress("", 0), TcpAddress("localhost", 22)),
        ("/run/s:~/x", "remote", "s", UnixAddress("/run/s"), UnixAddress("/home/me/x")),
        ("1080", "dynamic", "1080", TcpAddress("", 1080), None),
        ("[::1]:1080", "dynamic", "1080", TcpAddress("::1", 1080), None),
    ],
)
def test_what_ssh_takes(spec: str, kind: ForwardKind, name: str, listen: object, target: object) -> None:
    temporary = make()
    added = temporary.add(GPU, [DB], spec, kind, None)
    assert (added.name, added.kind, added.listen, added.target) == (name, kind, listen, target)
    assert added.temporary
    assert temporary.extend(GPU).forwards == (OWN, added)
    assert temporary.extend(DB) is DB


@pytest.mark.parametrize(
    ("spec", "kind", "label", "words"),
    [
        ("x", "local", None, "'x' is no forward: "),
        ("", "local", None, "'' is no forward: "),
        ("8787:localhost:1", "local", "6006", "gpu has a forward 6006"),
        ("8787:localhost:1", "local", "jupyter", "gpu has a forward jupyter"),
        ("5432:localhost:1", "local", None, "127.0.0.1:5432 is taken by forward pg of db; take another port"),
        ("8888:localhost:1", "local", None, "127.0.0.1:8888 is taken by Jupyter of gpu"),
        ("6006:other:1", "local", None, "127.0.0.1:6006 is taken by forward 6006 of gpu"),
        ("*:1:localhost:1", "local", None, "gateway_ports = true"),
        ("0.0.0.0:1080", "dynamic", None, "gateway_ports = true"),
        ("1:localhost:1", "dynamic", None, "is no forward"),
    ],
)
def test_what_is_in_the_way(spec: str, kind: ForwardKind, label: str | None, words: str) -> None:
    temporary = make()
    with pytest.raises(ConfigError) as caught:
        temporary.add(GPU, [DB], spec, kind, label)
    assert caught.value.kind == "usage"
    assert words in str(caught.value)
    assert temporary.extend(GPU) is GPU


def test_the_same_again_is_the_one_that_is_there() -> None:
    temporary = make()
    assert temporary.add(GPU, [], "6006", "local", None) == OWN
    added = temporary.add(GPU, [], "8787", "local", "dask")
    again = temporary.add(temporary.extend(GPU), [], "8787", "local", None)
    assert again == added


@pytest.mark.parametrize("spec", ["dask", "8787", "127.0.0.1:8787", "8787:localhost:8787"])
def test_one_is_found_by_any_of_its_words(spec: str) -> None:
    temporary = make()
    temporary.add(GPU, [], "8787", "local", "dask")
    other = temporary.add(temporary.extend(GPU), [], "8788", "local", None)
    assert temporary.remove(temporary.extend(GPU), spec) == ["dask"]
    assert temporary.extend(GPU).forwards == (OWN, other)
    assert temporary.remove(temporary.extend(GPU), None) == ["8788"]
    assert temporary.remove(GPU, None) == []


def test_those_of_the_config_are_not_taken_away() -> None:
    with pytest.raises(ConfigError) as caught:
        make().remove(GPU, "6006")
    assert "jtunnel forward gpu 6006 --remove --keep" in str(caught.value)
    with pytest.raises(ConfigError, match="gpu has no forward 1"):
        make().remove(GPU, "1")


def test_one_that_the_config_has_by_now_is_not_there_twice() -> None:
    temporary = make()
    added = temporary.add(GPU, [], "8787", "local", None)
    kept = replace(GPU, forwards=(OWN, replace(added, temporary=False)))
    assert temporary.extend(kept).forwards == kept.forwards
    assert not temporary.extend(kept).forwards[1].temporary
    with pytest.raises(ConfigError, match="is in the config"):
        temporary.remove(kept, "8787")


def test_they_go_with_the_tunnel_and_along_with_a_new_name() -> None:
    temporary = make()
    added = temporary.add(GPU, [], "8787", "local", None)
    temporary.rename("gpu", "big")
    assert temporary.extend(GPU) is GPU
    assert temporary.extend(replace(GPU, name="big")).forwards == (OWN, added)
    assert temporary.forget(["big", "gpu"]) == ["big"]
    assert temporary.extend(replace(GPU, name="big")).forwards == (OWN,)


def test_the_next_daemon_has_them_again() -> None:
    temporary, next_one = make(), make()
    local = temporary.add(GPU, [DB], "8787:node:1", "local", "dask")
    remote = temporary.add(temporary.extend(GPU), [DB], "0:localhost:22", "remote", None)
    added = temporary.added
    assert added == {"gpu": [("8787:node:1", "local", "dask"), ("0:localhost:22", "remote", "0")]}
    next_one.restore({"gpu": GPU, "db": DB}, {**added, "gone": [("1", "local", "1")]})
    assert next_one.extend(GPU).forwards == (OWN, local, remote)
    assert next_one.added == added
    # What is in the way by now, and what nobody can read, is left out.
    other = replace(DB, forwards=(Forward("x", "local", TcpAddress("", 8787), TcpAddress("h", 1)),))
    last = make()
    last.restore({"gpu": GPU, "db": other}, {"gpu": [*added["gpu"], ("?", "local", ""), ("1", "?", "")]})
    assert last.extend(GPU).forwards == (OWN, remote)
