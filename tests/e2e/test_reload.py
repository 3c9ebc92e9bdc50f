"""A config that is edited while the daemon runs: by `reload`, by SIGHUP, and by the next `up`."""

from __future__ import annotations

import os
import signal

from tests.support.client import Jtunnel
from tests.support.profiles import profile
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, dial, echoes, free_port, is_reset, listens

#: These tests say when the config is read.
ASKED = "watch_config = false\n"


def hang_up(jtunnel: Jtunnel) -> None:
    """Send the daemon SIGHUP."""
    pid = jtunnel.daemon_pid()
    assert pid is not None
    os.kill(pid, signal.SIGHUP)


def test_only_what_changed_is_touched(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    kept, moved, gone, added = (free_port() for _ in range(4))
    new_port = free_port()
    same = profile("kept", f"{kept}:{echo.target}")
    jtunnel.write_config(
        ASKED + same + profile("moved", f"{moved}:{echo.target}") + profile("gone", f"{gone}:{echo.target}")
    )
    jtunnel.check("up", "--all")
    with dial(kept) as stream, dial(moved) as cut, dial(gone) as dropped:
        assert echoes(stream)
        assert echoes(cut)
        assert echoes(dropped)
        # The same in other words, and in another order.
        jtunnel.write_config(
            ASKED
            + profile("added", f"{added}:{echo.target}", autostart=True)
            + profile("moved", f"{new_port}:{echo.target}")
            + f"# a comment\n{same}hold = 300\n"
        )
        assert jtunnel.check("reload") == "added: added\nchanged: moved\nremoved: gone\n"
        assert is_reset(cut)
        assert is_reset(dropped)
        assert not listens(moved)
        assert not listens(gone)
        jtunnel.wait_state("moved", "up")
        jtunnel.wait_state("added", "up")
        assert echoes(stream)
        for port in (new_port, added):
            with dial(port) as client:
                assert echoes(client)
    assert [tunnel["name"] for tunnel in jtunnel.status()["tunnels"]] == ["added", "moved", "kept"]
    assert jtunnel.tunnel("kept")["reconnects"] == 0


def test_a_broken_config_changes_nothing(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port = free_port()
    good = ASKED + profile("a", f"{port}:{echo.target}")
    jtunnel.write_config(good)
    jtunnel.check("up")
    with dial(port) as stream:
        assert echoes(stream)
        jtunnel.write_config(good + "hsot = 1\n")
        ended = jtunnel.run("reload")
        assert ended.returncode == 2
        assert 'config.toml: profiles.a.hsot: unknown key; did you mean "host"?' in ended.stderr
        problem = jtunnel.status()["daemon"]["config_problem"]
        assert problem is not None
        assert problem["kind"] == "config-invalid"
        assert "profiles.a.hsot" in problem["message"]
        assert "profiles.a.hsot" in jtunnel.check("status")
        ended = jtunnel.run("up")
        assert ended.returncode == 2
        assert "profiles.a.hsot" in ended.stderr
        os.unlink(jtunnel.home.config_file)
        assert jtunnel.run("reload").returncode == 2
        assert echoes(stream)
        jtunnel.write_config(good)
        assert jtunnel.check("reload") == "nothing changed\n"
        assert jtunnel.status()["daemon"]["config_problem"] is None
        assert echoes(stream)


def test_sighup_reloads(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port, added = free_port(), free_port()
    good = ASKED + profile("a", f"{port}:{echo.target}")
    jtunnel.write_config(good)
    jtunnel.check("up")
    with dial(port) as stream:
        assert echoes(stream)
        snapshots = jtunnel.snapshots(10)
        next(snapshots)
        jtunnel.write_config("[broken")
        hang_up(jtunnel)
        assert any(document["daemon"]["config_problem"] for document in snapshots)
        jtunnel.write_config(good + profile("b", f"{added}:{echo.target}", autostart=True))
        hang_up(jtunnel)
        assert any(len(document["tunnels"]) == 2 for document in snapshots)
        jtunnel.wait_state("b", "up")
        assert jtunnel.status()["daemon"]["config_problem"] is None
        assert echoes(stream)


def test_up_reads_an_edited_config_first(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port = free_port()
    jtunnel.write_config(ASKED + profile("a"))
    jtunnel.check("up", "a")
    jtunnel.write_config(ASKED + profile("a") + profile("b", f"{port}:{echo.target}", tags=["new"]))
    jtunnel.check("up", "--tag", "new")
    with dial(port) as client:
        assert echoes(client)


def test_a_changed_tunnel_that_is_down_stays_down(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port = free_port()
    jtunnel.write_config(ASKED + profile("a") + profile("b"))
    jtunnel.check("up", "a")
    jtunnel.write_config(ASKED + profile("a") + profile("b", f"{port}:{echo.target}"))
    assert jtunnel.check("reload") == "changed: b\n"
    assert jtunnel.tunnel("b")["state"] == "down"
    assert not listens(port)
