"""What was wanted by hand survives the daemon: its restart, its crash, an upgrade."""

from __future__ import annotations

import json
import os
import stat

import pytest

from tests.support.client import Jtunnel
from tests.support.profiles import profile
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, dial, echoes, free_port, listens


@pytest.mark.parametrize("crash", [False, True], ids=["shutdown", "crash"])
def test_up_and_down_by_hand_survive_a_restart(
    jtunnel: Jtunnel, box: Sshd, echo: EchoServer, crash: bool
) -> None:
    up, down, automatic = free_port(), free_port(), free_port()
    jtunnel.write_config(
        profile("up", f"{up}:{echo.target}")
        + profile("down", f"{down}:{echo.target}", autostart=True)
        + profile("automatic", f"{automatic}:{echo.target}", autostart=True)
        + profile("never")
    )
    jtunnel.check("up", "up")
    jtunnel.wait_state("down", "up")
    jtunnel.check("down", "down")
    if crash:
        jtunnel.kill_daemon()
    else:
        jtunnel.check("shutdown")
    jtunnel.start_daemon()
    jtunnel.wait_state("up", "up")
    jtunnel.wait_state("automatic", "up")
    with dial(up) as client:
        assert echoes(client)
    wanted = {tunnel["name"]: tunnel["wanted"] for tunnel in jtunnel.status()["tunnels"]}
    assert wanted == {"up": True, "down": False, "automatic": True, "never": False}
    assert not listens(down)


def test_forwards_by_hand_survive_a_restart(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port, more = free_port(), free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    jtunnel.check("up", "a")
    jtunnel.check("forward", "a", f"{more}:{echo.target}")
    jtunnel.check("shutdown")
    jtunnel.start_daemon()
    with dial(more) as client:
        assert echoes(client)
    jtunnel.check("down", "a")
    jtunnel.check("shutdown")
    jtunnel.check("up", "a")
    assert not listens(more)


def test_forwards_by_hand_survive_a_start_with_a_broken_config(
    jtunnel: Jtunnel, box: Sshd, echo: EchoServer
) -> None:
    port, more = free_port(), free_port()
    good = "watch_config = false\n" + profile("a", f"{port}:{echo.target}")
    jtunnel.write_config(good)
    jtunnel.check("up", "a")
    jtunnel.check("forward", "a", f"{more}:{echo.target}")
    jtunnel.check("shutdown")
    jtunnel.write_config(good + "[broken")
    # A service starts all the same, and waits for the file to be mended.
    jtunnel.env["JTUNNEL_SERVICE"] = "systemd"
    jtunnel.start_daemon()
    jtunnel.write_config(good)
    jtunnel.check("reload")
    with dial(more) as client:
        assert echoes(client)


def test_after_a_reboot_the_config_decides_again(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    jtunnel.write_config(profile("up") + profile("down", autostart=True))
    jtunnel.check("up", "up")
    jtunnel.check("down", "down")
    jtunnel.check("shutdown")
    path = os.path.join(jtunnel.home.state_dir, "wanted.json")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with open(path) as file:
        kept = json.load(file)
    assert kept["tunnels"] == {"up": True, "down": False}
    with open(path, "w") as file:
        json.dump({**kept, "boot": "another"}, file)
    jtunnel.start_daemon()
    wanted = {tunnel["name"]: tunnel["wanted"] for tunnel in jtunnel.status()["tunnels"]}
    assert wanted == {"up": False, "down": True}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"boot": 1, "tunnels": 2}', b"\xff"])
def test_a_record_that_is_broken_is_no_record(jtunnel: Jtunnel, box: Sshd, content: bytes) -> None:
    os.mkdir(jtunnel.home.state_dir, 0o700)
    with open(os.path.join(jtunnel.home.state_dir, "wanted.json"), "wb") as file:
        file.write(content)
    jtunnel.write_config(profile("a"))
    jtunnel.start_daemon()
    assert not jtunnel.tunnel("a")["wanted"]
    jtunnel.check("up", "a")


def test_a_record_that_cannot_be_written_keeps_nobody_from_anything(jtunnel: Jtunnel, box: Sshd) -> None:
    jtunnel.write_config(profile("a"))
    os.makedirs(os.path.join(jtunnel.home.state_dir, "wanted.json", "in the way"))
    jtunnel.check("up", "a")
    assert "cannot write" in jtunnel.check("logs")
