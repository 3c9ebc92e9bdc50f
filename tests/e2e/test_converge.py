"""An edited config touches what was edited: forward by forward, with the connection left alone."""

from __future__ import annotations

import os

import pytest

from tests.support.client import Jtunnel
from tests.support.profiles import profile
from tests.support.ssh_server import FaultyServer
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, dial, echoes, free_port, is_reset, listens


def test_a_forward_more_or_less_leaves_the_others_and_the_connection(
    jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer
) -> None:
    kept, gone, added = free_port(), free_port(), free_port()
    jtunnel.write_config(profile("a", f"{kept}:{echo.target}", f"{gone}:{echo.target}"))
    jtunnel.check("up", "a")
    before = jtunnel.tunnel("a")
    with dial(kept) as stream, dial(gone) as cut:
        assert echoes(stream)
        assert echoes(cut)
        jtunnel.write_config(profile("a", f"{added}:{echo.target}", f"{kept}:{echo.target}", tags=["t"]))
        jtunnel.check("reload")
        assert is_reset(cut)
        assert not listens(gone)
        with dial(added) as client:
            assert echoes(client)
        assert echoes(stream)
    after = jtunnel.tunnel("a")
    assert [forward["name"] for forward in after["forwards"]] == [str(added), str(kept)]
    assert (after["state"], after["since"], after["reconnects"]) == ("up", before["since"], 0)
    assert after["tags"] == ["t"]
    assert after["forwards"][1]["accepted"] == 1
    assert faulty.counts.connections == 1


def test_another_host_takes_the_tunnel_there_with_its_listeners_open(
    jtunnel: Jtunnel, box: Sshd, echo: EchoServer
) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}", host="nowhere.invalid"))
    jtunnel.check("up", "--no-wait", "a")
    jtunnel.wait_state("a", "retrying")
    with dial(port) as waiting:
        jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
        jtunnel.check("reload")
        # It has waited through the edit.
        assert echoes(waiting)
    assert jtunnel.wait_state("a", "up")["alias"] == "box"


def test_an_edit_may_be_what_a_blocked_tunnel_needed(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port = free_port()
    with dial(echo.port):
        jtunnel.write_config(profile("a", f"{echo.port}:{echo.target}"))
        assert jtunnel.run("up", "a").returncode == 4
        assert jtunnel.blocked_by("a") == "port-in-use"
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    jtunnel.check("reload")
    jtunnel.wait_state("a", "up")


@pytest.mark.long
def test_an_edit_is_noticed_by_itself(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port, added = free_port(), free_port()
    good = profile("a", f"{port}:{echo.target}")
    jtunnel.write_config(good)
    jtunnel.check("up", "a")
    with dial(port) as stream:
        assert echoes(stream)
        snapshots = jtunnel.snapshots(20)
        next(snapshots)
        jtunnel.write_config(good + "[broken")
        assert any(document["daemon"]["config_problem"] for document in snapshots)
        # As editors write: a new file in the old one's place.
        new = f"{jtunnel.home.config_file}.new"
        with open(new, "w") as file:
            file.write(good + profile("b", f"{added}:{echo.target}", autostart=True))
        os.replace(new, jtunnel.home.config_file)
        assert any(not document["daemon"]["config_problem"] for document in snapshots)
        jtunnel.wait_state("b", "up", 20)
        assert echoes(stream)


@pytest.mark.long
def test_not_to_be_noticed_is_a_choice(jtunnel: Jtunnel, box: Sshd) -> None:
    jtunnel.write_config("watch_config = false\n" + profile("a"))
    jtunnel.check("up", "a")
    jtunnel.write_config("watch_config = false\n" + profile("a") + profile("b"))
    # By the time another daemon would have read it twice.
    with pytest.raises(TimeoutError):
        for document in jtunnel.snapshots(6):
            assert len(document["tunnels"]) == 1
    assert jtunnel.check("reload") == "added: b\n"
