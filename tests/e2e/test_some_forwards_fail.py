"""One forward that fails leaves the others up, and shows its own problem."""

from __future__ import annotations

import socket

from tests.support.client import Jtunnel
from tests.support.keys import Key
from tests.support.profiles import profile
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, dial, echoes, free_port, listens


def test_a_busy_port_is_its_own_forwards_problem(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    good, busy = free_port(), free_port()
    jtunnel.write_config(profile("a", f"{busy}:{echo.target}", f"{good}:{echo.target}"))
    with socket.create_server(("127.0.0.1", busy)):
        ended = jtunnel.run("up", "a")
        assert ended.returncode == 4
        assert f"port {busy} on 127.0.0.1 is taken by " in ended.stderr
        with dial(good) as stream:
            assert echoes(stream)
            bad, other = jtunnel.tunnel("a")["forwards"]
            assert bad["problem"] is not None
            assert bad["problem"]["kind"] == "port-in-use"
            assert not bad["listening"]
            assert other["listening"]
            assert other["problem"] is None
    with dial(good) as stream:
        assert echoes(stream)
        # What failed is tried again when a person asks; the rest goes on.
        jtunnel.check("up", "a")
        assert echoes(stream)
        with dial(busy) as client:
            assert echoes(client)


def test_nothing_is_connected_where_nothing_can_listen(jtunnel: Jtunnel, box: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        jtunnel.write_config(profile("a", f"{taken.getsockname()[1]}:127.0.0.1:9"))
        assert jtunnel.run("up", "a").returncode == 4
        assert not box.sessions()
    jtunnel.check("up", "a")


def test_a_forbidden_target_is_its_own_forwards_problem(
    jtunnel: Jtunnel, box: Sshd, echo: EchoServer, client_key: Key
) -> None:
    good, bad = free_port(), free_port()
    box.restart(options={"PermitOpen": echo.target})
    jtunnel.write_config(profile("a", f"{bad}:127.0.0.1:{echo.port + 1}", f"{good}:{echo.target}"))
    ended = jtunnel.run("up", "a")
    assert ended.returncode == 4
    assert jtunnel.blocked_by("a") == "forward-refused"
    with dial(good) as stream:
        assert echoes(stream)
        box.restart(options={"PermitOpen": "any"}, keep_sessions=False)
    forbidden, allowed = jtunnel.tunnel("a")["forwards"]
    assert allowed["problem"] is None
    assert forbidden["listening"]


def test_forwards_come_and_go_by_hand(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    first, second = free_port(), free_port()
    jtunnel.write_config(profile("a", f"{first}:{echo.target}"))
    jtunnel.check("up", "a")
    with dial(first) as stream:
        assert echoes(stream)
        jtunnel.check("forward", "a", f"{second}:{echo.target}")
        with dial(second) as client:
            assert echoes(client)
        own, added = jtunnel.tunnel("a")["forwards"]
        assert (own["temporary"], added["temporary"]) == (False, True)
        assert jtunnel.run("forward", "a", f"{first}:localhost:1").returncode == 2
        assert jtunnel.run("forward", "a", f"*:{second}:localhost:1").returncode == 2
        for label in ("a/b", "x" * 65, "\x1b[31m", "jupyter "):
            assert jtunnel.run("forward", "a", f"{second}:localhost:1", "--name", label).returncode == 2
        assert len(jtunnel.tunnel("a")["forwards"]) == 2
        jtunnel.check("forward", "a", str(second), "--remove")
        assert not listens(second)
        assert echoes(stream)
    jtunnel.check("forward", "a", f"{second}:{echo.target}")
    jtunnel.check("down", "a")
    jtunnel.check("up", "a")
    assert not listens(second)


def test_patterns_and_tags(jtunnel: Jtunnel, box: Sshd) -> None:
    jtunnel.write_config(
        profile("gpu1", tags=["work"]) + profile("gpu2") + profile("db", tags=["work", "data"])
    )
    jtunnel.check("up", "gpu*")
    names = [tunnel["name"] for tunnel in jtunnel.status("gpu*", "gpu1")["tunnels"]]
    assert names == ["gpu1", "gpu2"]
    assert [t["name"] for t in jtunnel.status("--tag", "work")["tunnels"]] == ["gpu1", "db"]
    jtunnel.check("down", "--tag", "work")
    assert {t["name"] for t in jtunnel.status()["tunnels"] if t["wanted"]} == {"gpu2"}
    ended = jtunnel.run("up", "cpu*")
    assert ended.returncode == 2
    assert "no profile matches 'cpu*'" in ended.stderr
    assert "gpu1, gpu2, db" in ended.stderr
    ended = jtunnel.run("url", "gpu*")
    assert (ended.returncode, ended.stderr) == (2, "jtunnel: url takes one tunnel; name one: gpu1, gpu2\n")
    assert "gpu2 has no remote server" in jtunnel.run("url", "*2").stderr
