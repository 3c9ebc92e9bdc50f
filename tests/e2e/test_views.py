"""`status`, `wait` and `status --format` beside the real daemon: patterns, tags, tunnels at rest."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.client import PROGRAM, Jtunnel
from tests.support.keys import make_key
from tests.support.profiles import profile
from tests.support.ssh_server import FaultyServer
from tests.support.sshd import Sshd
from tests.support.streams import WAIT_S, EchoServer, free_port


def test_patterns_and_tags(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    jtunnel.write_config(
        profile("gpu-1", f"{free_port()}:{echo.target}", tags=["work"])
        + profile("gpu-2", f"{free_port()}:{echo.target}", tags=["home"])
        + profile("lazy", f"{free_port()}:{echo.target}", autostart="on-demand")
    )
    jtunnel.check("up", "gpu-1")
    assert [each["name"] for each in jtunnel.status("gpu*")["tunnels"]] == ["gpu-1", "gpu-2"]
    shown = jtunnel.run("status", "--tag", "work")
    assert (shown.returncode, shown.stdout.split()[:2]) == (0, ["gpu-1", "up"])
    assert jtunnel.run("status", "gpu*").returncode == 1
    assert jtunnel.run("status", "cpu*").returncode == 2
    lines = jtunnel.check("status").splitlines()
    assert [line.split()[0] for line in lines if line] == [
        "NAME",
        "work:",
        "gpu-1",
        "home:",
        "gpu-2",
        "without",
        "lazy",
    ]
    assert jtunnel.check("status", "--format", "{up}/{wanted} of {total}, {on_demand} on demand") == (
        "1/1 of 3, 1 on demand\n"
    )
    assert "  on demand  " in lines[-1]


def test_wait_follows_what_others_do(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    jtunnel.write_config(profile("a", f"{free_port()}:{echo.target}"))
    assert jtunnel.run("wait", "a").returncode == 3
    jtunnel.check("up", "a")
    assert jtunnel.check("wait", "a") == ""
    assert jtunnel.run("wait", "a", "--for", "down", "--timeout", "0").returncode == 1
    with subprocess.Popen([PROGRAM, "wait", "a", "--for", "down"], env=jtunnel.env) as waiting:
        jtunnel.check("down", "a")
        assert waiting.wait(WAIT_S) == 0


def test_a_login_that_is_refused_all_at_once_is_said_at_once(
    jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer, tmp_path: Path
) -> None:
    jtunnel.write_config(profile("a", f"{free_port()}:{echo.target}"))
    jtunnel.check("up", "a")
    faulty.authorized[:] = [make_key(str(tmp_path), "somebody-elses")]
    with jtunnel.spawn("restart", "a") as terminal:
        assert terminal.wait() == 4
    # It worked before, so that it is tried once more by itself, half a minute later.
    assert jtunnel.tunnel("a")["state"] == "retrying"
    said = "".join(terminal.screen())
    assert said.startswith("jtunnel: a: ")
    assert "refused the login" in said
    assert "goes on trying" not in said
