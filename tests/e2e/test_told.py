"""What becomes of a tunnel, kept, passed on and shown: history, hooks, notifications, of the real daemon."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.support import processes
from tests.support.client import Jtunnel
from tests.support.profiles import profile
from tests.support.ssh_server import FaultyServer
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, free_port

WAIT_S = 30.0
NOTE = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["HOME"] + "/notices", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
print(7)
"""


def history(jtunnel: Jtunnel, *names: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(jtunnel.check("history", "--json", *names))["tunnels"]
    return found


def wait_until(condition: Callable[[], object], timeout_s: float = WAIT_S) -> None:
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def lines(jtunnel: Jtunnel, file: str) -> list[str]:
    path = os.path.join(jtunnel.home.path, file)
    if not os.path.exists(path):
        return []
    with open(path) as opened:
        return opened.read().splitlines()


def lose_once(jtunnel: Jtunnel, faulty: FaultyServer) -> dict[str, Any]:
    """The one outage of a tunnel that comes up, is lost and comes back."""
    jtunnel.check("up", "gpu")
    faulty.drop_all()
    jtunnel.wait_tunnel("gpu", lambda tunnel: tunnel["reconnects"] == 1 and tunnel["state"] == "up")
    (gpu,) = history(jtunnel, "--tag", "work")
    (outage,) = gpu["outages"]
    assert (gpu["name"], gpu["state"], outage["kind"]) == ("gpu", "up", "connection-lost")
    assert outage["until"] > outage["from"]
    assert 0 < gpu["day"]["availability"] < 1
    return dict(outage)


def test_outages_are_kept_and_the_end_of_the_daemon_is_none(jtunnel: Jtunnel, faulty: FaultyServer) -> None:
    jtunnel.write_config(profile("gpu", tags=["work"]) + profile("other"))
    outage = lose_once(jtunnel, faulty)
    jtunnel.check("shutdown")
    assert jtunnel.run("history").returncode == 3
    jtunnel.check("up", "gpu")
    gpu, other = history(jtunnel)
    assert (gpu["outages"], other["day"]["availability"]) == ([outage], None)
    shown = jtunnel.check("history", "g*")
    assert shown.startswith("gpu  up\n")
    assert outage["message"].split()[0] in shown


def test_outages_are_kept_through_a_crash_and_a_rename(jtunnel: Jtunnel, faulty: FaultyServer) -> None:
    jtunnel.write_config(profile("gpu", tags=["work"]))
    outage = lose_once(jtunnel, faulty)
    pid = jtunnel.daemon_pid()
    assert pid is not None
    daemon = psutil.Process(pid)
    daemon.kill()
    assert not processes.await_end([daemon], WAIT_S)
    jtunnel.check("up", "gpu")
    assert history(jtunnel, "gpu")[0]["outages"] == [outage]
    jtunnel.check("rename", "gpu", "big")
    assert history(jtunnel, "big")[0]["outages"] == [outage]


@pytest.mark.long
def test_hooks_are_run_with_what_they_need_to_know(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    jtunnel.home.env["NOTIFY_SOCKET"] = os.path.join(jtunnel.home.path, "nobody")
    variables = ("EVENT", "PROFILE", "STATE", "PROBLEM", "HOST")
    words = " ".join(f"$JTUNNEL_{name}" for name in variables)
    ended = 'test -z "$JTUNNEL_OUTAGE_SECONDS" || echo ended >> hooks'
    hook = f'echo "{words} ${{NOTIFY_SOCKET:-}}" >> hooks; {ended}'
    jtunnel.write_config(
        profile("gpu", f"{free_port()}:{echo.target}", on_up=hook, on_down=["sh", "-c", hook])
    )
    jtunnel.check("up", "gpu")
    box.stop()
    wait_until(lambda: len(lines(jtunnel, "hooks")) == 2)
    box.start()
    jtunnel.wait_state("gpu", "up")
    wait_until(lambda: len(lines(jtunnel, "hooks")) == 4)
    jtunnel.check("down", "gpu")
    wait_until(lambda: len(lines(jtunnel, "hooks")) == 5)
    first, lost, again, end, down = lines(jtunnel, "hooks")
    assert first.split() == ["on_up", "gpu", "up", "box"]
    assert lost.split()[:3] == ["on_down", "gpu", "retrying"]
    assert lost.split()[3] in ("connection-lost", "host-unreachable")
    assert (again, end) == (first, "ended")
    assert down.split() == ["on_down", "gpu", "down", "box"]


def test_a_hook_that_hangs_is_in_nobodys_way(jtunnel: Jtunnel, faulty: FaultyServer) -> None:
    hook = "echo $$ > hanging; echo begun; sleep 1000"
    jtunnel.write_config(profile("gpu", on_up=hook, on_down="/nowhere/at-all"))
    jtunnel.check("up", "gpu")
    wait_until(lambda: lines(jtunnel, "hanging"))
    hanging = psutil.Process(int(lines(jtunnel, "hanging")[0]))
    faulty.drop_all()
    jtunnel.wait_tunnel("gpu", lambda tunnel: tunnel["reconnects"] == 1 and tunnel["state"] == "up")
    assert hanging.is_running()
    begun = time.monotonic()
    jtunnel.check("shutdown")
    assert time.monotonic() - begun < 4
    assert not processes.await_end([hanging], WAIT_S)


@pytest.mark.skipif(sys.platform == "darwin", reason="the program in its place is notify-send")
@pytest.mark.long
def test_the_desktop_is_told(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    programs = os.path.join(jtunnel.home.path, "programs")
    os.mkdir(programs)
    with open(os.path.join(programs, "notify-send"), "w") as file:
        file.write(NOTE)
        os.chmod(file.fileno(), 0o755)
    jtunnel.home.env["PATH"] = f"{programs}:{jtunnel.home.env['PATH']}"
    quiet = profile("quiet", host="127.0.0.1", port=1, known_hosts=["/nowhere"])
    blocked = profile("blocked", f"{free_port()}:{echo.target}", user="nobody-at-all", notify=True)
    jtunnel.write_config(
        quiet + blocked + profile("a", notify=True) + profile("b", notify=True) + profile("c")
    )
    assert jtunnel.run("up", "blocked").returncode == 4
    wait_until(lambda: len(lines(jtunnel, "notices")) == 1)
    first = json.loads(lines(jtunnel, "notices")[0])
    assert first[-2] == "blocked is blocked"
    assert "--urgency=critical" in first
    jtunnel.check("up", "a", "b", "c")
    box.stop()
    wait_until(lambda: len(lines(jtunnel, "notices")) == 2, 60)
    away = json.loads(lines(jtunnel, "notices")[1])
    assert away[-2] == "a and b are away"
    box.start()
    wait_until(lambda: len(lines(jtunnel, "notices")) == 3, 60)
    back = json.loads(lines(jtunnel, "notices")[2])
    assert back[-2] == "a and b are up again"
    assert "--replace-id=7" in back
    assert back[-1].startswith("after ")
