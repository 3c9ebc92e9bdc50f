"""What the daemon keeps from others: its directory, socket and log, and who may talk to it."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys

from tests.support.accounts import Account
from tests.support.client import Jtunnel
from tests.support.profiles import profile
from tests.support.sshd import Sshd

LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (info|warning|error) +(\[a\] )?\S.*\n")
TIMEOUT_S = 20
#: Run by a Python of the system's: says hello at a socket, and prints what comes back.
_HELLO = """
import socket, sys
stream = socket.socket(socket.AF_UNIX)
stream.settimeout(10)
try:
    stream.connect(sys.argv[1])
    stream.sendall(sys.argv[2].encode() + b"\\n")
    print(repr(stream.recv(65536)))
except OSError as error:
    print(type(error).__name__)
"""


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_files_are_their_owners_only(jtunnel: Jtunnel, box: Sshd) -> None:
    jtunnel.write_config(profile("a"))
    jtunnel.check("up")
    home = jtunnel.home
    assert mode(home.runtime_dir) == 0o700
    assert mode(os.path.join(home.runtime_dir, "control.sock")) == 0o600
    assert mode(home.state_dir) == 0o700
    for directory in (home.runtime_dir, home.state_dir):
        for name in os.listdir(directory):
            assert mode(os.path.join(directory, name)) & 0o077 == 0, name


def test_a_runtime_directory_of_somebody_else_is_not_used(jtunnel: Jtunnel, remote_user: Account) -> None:
    jtunnel.write_config(profile("a"))
    os.mkdir(jtunnel.home.runtime_dir, 0o700)
    os.chown(jtunnel.home.runtime_dir, remote_user.uid, remote_user.gid)
    ended = jtunnel.run("up", "a")
    assert ended.returncode == 1
    assert jtunnel.home.runtime_dir in ended.stderr
    assert "Traceback" not in ended.stderr
    assert os.stat(jtunnel.home.runtime_dir).st_uid == remote_user.uid


def test_an_open_runtime_directory_is_closed(jtunnel: Jtunnel, box: Sshd) -> None:
    jtunnel.write_config(profile("a"))
    os.mkdir(jtunnel.home.runtime_dir)
    os.chmod(jtunnel.home.runtime_dir, 0o777)
    jtunnel.check("up")
    assert mode(jtunnel.home.runtime_dir) == 0o700


def test_a_directory_that_others_use_too_is_left_alone(jtunnel: Jtunnel) -> None:
    jtunnel.write_config(profile("a"))
    shared = jtunnel.home.runtime_dir
    os.mkdir(shared)
    os.chmod(shared, 0o1777)
    with open(os.path.join(shared, "of-somebody"), "w"):
        pass
    ended = jtunnel.run("up", "a")
    assert ended.returncode == 1
    assert f"{shared} is open to others and in use" in ended.stderr
    assert mode(shared) == 0o1777


def say_hello(jtunnel: Jtunnel, account: Account | None) -> str:
    """What a process of that account hears at the control socket."""
    path = os.path.join(jtunnel.home.runtime_dir, "control.sock")
    call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {}})
    become = (
        ["setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"] if account else []
    )
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    ended = subprocess.run(
        [*become, python, "-I", "-c", _HELLO, path, call],
        env=jtunnel.env,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_another_user_is_turned_away(jtunnel: Jtunnel, box: Sshd, remote_user: Account) -> None:
    jtunnel.write_config(profile("a"))
    jtunnel.check("up")
    assert say_hello(jtunnel, remote_user) == "PermissionError"
    # Modes alone would do; they are not relied on.
    home = jtunnel.home
    os.chmod(home.path, 0o755)
    os.chmod(home.runtime_dir, 0o755)
    os.chmod(os.path.join(home.runtime_dir, "control.sock"), 0o666)
    assert say_hello(jtunnel, remote_user) in ("b''", "ConnectionResetError", "BrokenPipeError")
    assert '"protocol":1' in say_hello(jtunnel, None)
    assert "turned away a connection from another user" in jtunnel.log_tail()
    assert jtunnel.tunnel("a")["state"] == "up"


def test_the_log_is_dated_and_tells_a_tunnels_story(jtunnel: Jtunnel, box: Sshd) -> None:
    jtunnel.write_config(profile("a"))
    jtunnel.check("up")
    box.restart()
    jtunnel.wait_tunnel("a", lambda tunnel: tunnel["reconnects"] == 1 and tunnel["state"] == "up")
    jtunnel.check("down")
    path = os.path.join(jtunnel.home.state_dir, "jtunnel.log")
    with open(path) as file:
        lines = file.readlines()
    assert all(map(LOG_LINE.fullmatch, lines)), lines
    story = [line.split("[a] ")[1].split(":")[0].strip() for line in lines if "[a] " in line]
    first_up = story.index("up")
    assert story[0] == "connecting"
    assert "retrying" in story[first_up:]
    assert story[-2].startswith("up again after ")
    assert story[-1] == "down"
    shown = jtunnel.check("logs", "a")
    assert shown.splitlines() == [line.rstrip("\n") for line in lines if "[a] " in line]
