"""The config changed by commands while tunnels are up: what does not change is not touched."""

from __future__ import annotations

import pytest

from jtunnel.status import JupyterStatus
from tests.support.client import Jtunnel
from tests.support.laptop import NAME, Laptop
from tests.support.profiles import profile
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, dial, echoes, free_port, is_reset, listens


def config(jtunnel: Jtunnel) -> str:
    with open(jtunnel.home.config_file) as file:
        return file.read()


def test_a_forward_is_kept_and_goes_while_others_live(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    first, late = free_port(), free_port()
    written = "# mine\n" + profile("gpu", f"{first}:{echo.target}") + "# the end\n"
    jtunnel.write_config(written)
    jtunnel.check("up")
    spec = f"{late}:{echo.target}"
    with dial(first) as before:
        assert echoes(before)
        assert jtunnel.check("forward", "gpu", spec).startswith(f"gpu  {late}  local  127.0.0.1:{late} → ")
        with dial(late) as stream:
            assert echoes(stream)
            jtunnel.check("forward", "gpu", spec, "--keep")
            forwards = {forward["name"]: forward for forward in jtunnel.tunnel("gpu")["forwards"]}
            assert not forwards[str(late)]["temporary"]
            assert echoes(stream)
            assert (
                jtunnel.check("forward", "gpu", str(late), "--remove", "--keep") == f"gpu  {late}  removed\n"
            )
            assert is_reset(stream)
        assert not listens(late)
        assert echoes(before)
    assert config(jtunnel) == written
    assert jtunnel.tunnel("gpu")["reconnects"] == 0


def test_a_forward_that_cannot_listen_leaves_nothing(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    first = free_port()
    jtunnel.write_config(profile("gpu", f"{first}:{echo.target}"))
    jtunnel.check("up")
    with EchoServer() as other:
        ended = jtunnel.run("forward", "gpu", f"{other.port}:{echo.target}", "--keep")
    assert ended.returncode == 4, ended.stderr
    tunnel = jtunnel.wait_state("gpu", "up")
    assert [forward["name"] for forward in tunnel["forwards"]] == [str(first)]
    assert str(other.port) not in config(jtunnel)


def test_a_renamed_tunnel_stays_wanted(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port = free_port()
    jtunnel.write_config("# first\n" + profile("gpu", f"{port}:{echo.target}"))
    jtunnel.check("up")
    assert jtunnel.check("rename", "gpu", "big.one") == "big.one  was gpu\n"
    jtunnel.wait_state("big.one", "up")
    with dial(port) as stream:
        assert echoes(stream)
    assert config(jtunnel).startswith('# first\n[profiles."big.one"]\n')
    jtunnel.check("shutdown")
    # Nobody keeps its files now but the command itself.
    jtunnel.check("rename", "big.one", "gpu")
    jtunnel.check("up", "--no-wait")
    jtunnel.wait_state("gpu", "up")


def test_enable_and_rm_reach_the_daemon(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    kept, gone = free_port(), free_port()
    text = profile("kept", f"{kept}:{echo.target}"), "# gone\n" + profile("gone", f"{gone}:{echo.target}")
    jtunnel.write_config("".join(text))
    jtunnel.check("up", "--all")
    with dial(kept) as stream:
        assert echoes(stream)
        jtunnel.check("enable", "kept")
        assert jtunnel.tunnel("kept")["autostart"] is True
        assert "its tunnel taken down" in jtunnel.check("rm", "g*")
        assert not listens(gone)
        assert echoes(stream)
    assert config(jtunnel) == f"{text[0]}autostart = true\n"


def test_an_edit_reaches_the_daemon(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port, other = free_port(), free_port()
    jtunnel.write_config(profile("gpu", f"{port}:{echo.target}"))
    jtunnel.check("up")
    jtunnel.env["EDITOR"] = f"sed -i s/{port}:/{other}:/"
    assert jtunnel.check("edit") == "changed: gpu\n"
    jtunnel.wait_state("gpu", "up")
    with dial(other) as stream:
        assert echoes(stream)
    assert not listens(port)


@pytest.mark.long
def test_a_renamed_profile_keeps_its_server_and_its_port(laptop: Laptop, lab_server: JupyterStatus) -> None:
    laptop.up()
    before, url = laptop.server(), laptop.jtunnel.check("url", NAME)
    laptop.jtunnel.check("rename", NAME, "renamed")
    laptop.jtunnel.wait_state("renamed", "up")
    after = laptop.jtunnel.tunnel("renamed")["jupyter"]
    assert after is not None
    # By this name it is a server that was found, and not one that was started.
    assert (after["pid"], after["url"], after["origin"]) == (before["pid"], before["url"], "adopted")
    assert laptop.jtunnel.check("url", "renamed") == url
    laptop.jtunnel.check("rename", "renamed", NAME)
