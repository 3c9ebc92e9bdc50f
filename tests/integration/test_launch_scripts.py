"""Starting and ending a process on the remote where things go wrong: no room, squatters, a script that dies.

Under the shells that may be its /bin/sh; without a Jupyter.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from jtunnel.errors import ChannelError
from jtunnel.remote import CommandResult
from jtunnel.service.script import Report, compose, read_report
from jtunnel.service.survey import read_survey
from tests.support import processes
from tests.support.accounts import Account, new_account
from tests.support.home import SYSTEM_PATH
from tests.support.local_remote import RemoteHome, new_home, new_key
from tests.support.remote_scripts import NODE, SHELL_NAMES, launch, launch_values, shell_command, stop


@pytest.fixture(params=SHELL_NAMES)
def shell(request: pytest.FixtureRequest) -> list[str]:
    """A shell's command line."""
    return shell_command(request.param)


@pytest.fixture
def home() -> Iterator[RemoteHome]:
    with new_home() as made:
        yield made


@pytest.fixture
def key() -> str:
    return new_key()


@pytest.fixture
def sleeper(home: RemoteHome) -> str:
    """A program that tells what it was started with, and stays."""
    return home.write("bin/sleeper", "#!/bin/sh\nenv\nexec sleep 600\n", mode=0o755)


@pytest.fixture
def small_home() -> Iterator[RemoteHome]:
    """A home on a file system of its own, which can be full or read-only."""
    with new_home() as made:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", made.path], check=True)
        try:
            yield made
        finally:
            processes.kill(processes.running_with("HOME", made.path))
            subprocess.run(["umount", made.path], check=True)


def lock_of(key: str) -> str:
    """The lock of a profile."""
    return f"/tmp/jtunnel-{os.getuid()}/jupyter-{key}@{NODE}.lock"


def everything_in(home: RemoteHome) -> list[str]:
    """All files below a home."""
    return sorted(os.path.join(place, name) for place, _, names in os.walk(home.path) for name in names)


def test_a_service_without_a_token_gets_none(
    shell: list[str], home: RemoteHome, key: str, sleeper: str
) -> None:
    home.env["JUPYTER_TOKEN"] = "theirs"
    report = launch(shell, home, key, sleeper, token_name="")
    pid = int((report.one("launched") or "").split(" ")[0])
    wait_for_program(pid, "sleep")
    environment = psutil.Process(pid).environ()
    assert [name for name in environment if name.startswith("JUPYTER_")] == []
    assert not os.path.exists(f"{home.path}/.local/share/jtunnel/{key}.token")
    stop(shell, home, key, report)


def test_settings_of_ours_come_before_the_users(
    shell: list[str], home: RemoteHome, key: str, sleeper: str
) -> None:
    """They hold no token; what the user has set stays behind them, and runtime files are closed to others."""
    runtime = f"{home.path}/.local/share/jupyter/runtime"
    home.env |= {"JUPYTER_CONFIG_PATH": "/theirs"}
    os.makedirs(runtime, 0o755)
    os.chmod(runtime, 0o755)
    report = launch(shell, home, key, sleeper, kind="jupyter")
    pid = int((report.one("launched") or "").split(" ")[0])
    ours = f"{home.path}/.local/share/jtunnel/config"
    wait_for_program(pid, "sleep")
    environment = psutil.Process(pid).environ()
    assert environment["JUPYTER_CONFIG_PATH"] == f"{ours}:/theirs"
    assert sorted(os.listdir(ours)) == [
        f"jupyter_{name}_config.py" for name in ("lab", "nbclassic", "notebook", "server")
    ]
    for name in os.listdir(ours):
        assert "0123456789abcdef" not in home.read(f".local/share/jtunnel/config/{name}")
        compile(home.read(f".local/share/jtunnel/config/{name}"), name, "exec")
    assert stat.S_IMODE(os.stat(runtime).st_mode) == 0o700
    stop(shell, home, key, report)


def wait_for_program(pid: int, name: str) -> None:
    """Wait until a process has become the program of that name; its environment comes a moment after that."""
    deadline = time.monotonic() + 10
    while psutil.Process(pid).name() != name or not psutil.Process(pid).environ():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.root
@pytest.mark.parametrize("state", ["full", "read-only", "full a moment later", "no record"])
def test_a_home_without_room_is_said_and_nothing_is_left(
    shell: list[str], small_home: RemoteHome, key: str, state: str
) -> None:
    home = small_home
    before = ""
    if state == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", home.path], check=True)
        why = "Read-only file system"
    else:
        why = "No space left on device"
    fill = f'dd if=/dev/zero of="{home.path}/fill" bs=1024 >/dev/null 2>&1'
    if state == "full":
        subprocess.run(["sh", "-c", fill])
    elif state == "full a moment later":
        # Just after the look for room.
        before = f"find_scope() {{ {fill}; scope=''; }}"
    elif state == "no record":
        before = "put() { return 1; }"
    report = launch(shell, home, key, "/bin/sleep", before=before)
    assert re.fullmatch(
        rf"cannot write {re.escape(home.path)}/.local/share/jtunnel(/.*)?", report.one("failed") or ""
    )
    if not before:
        assert report.one("why") == why
    assert not processes.running_with("HOME", home.path)
    assert not os.path.lexists(lock_of(key))
    assert [name for name in everything_in(home) if not name.endswith("/fill")] == []


def test_what_is_in_the_way_is_said(shell: list[str], home: RemoteHome, key: str) -> None:
    home.write(".local/share", "")
    report = launch(shell, home, key, "/bin/sleep")
    assert report.one("failed") == f"cannot write {home.path}/.local/share/jtunnel"
    assert report.one("why") == "Not a directory"
    assert not os.path.lexists(lock_of(key))


def test_a_lock_that_cannot_be_made_is_said(shell: list[str], home: RemoteHome, key: str) -> None:
    """As where /tmp is full: at once, and without a start."""
    report = launch(shell, home, key, "/bin/sleep", before="choose_run_dir() { run=/none; }")
    assert report.one("failed") == f"cannot write /none/jupyter-{key}@{NODE}.lock"
    assert report.one("why") == "No such file or directory"
    assert not processes.running_with("HOME", home.path)


#: Where the shell of launch.sh is killed: by which line, and whether the process lives then.
KILLED_AFTER = {
    "locked": ("recorded_runs() { kill -KILL $$; }", False),
    "token kept": ("detach() { kill -KILL $$; }", False),
    "record written": ("say() { kill -KILL $$; }", True),
}


@pytest.mark.parametrize("point", KILLED_AFTER)
def test_a_launch_that_is_cut_short_leaves_nothing_unknown(
    shell: list[str], home: RemoteHome, key: str, sleeper: str, point: str
) -> None:
    """Either nothing runs, or the next start finds what runs; its lock is no obstacle."""
    line, lives = KILLED_AFTER[point]
    with pytest.raises(ChannelError):
        launch(shell, home, key, sleeper, before=line)
    second = launch(shell, home, key, sleeper)
    if lives:
        assert second.one("attached") is not None
    else:
        assert second.one("launched") is not None
    survey = read_survey(second)
    assert survey.record is not None
    wait_for_program(survey.record.server.pid, "sleep")
    running = [process.pid for process in processes.running_with("HOME", home.path)]
    assert running == [survey.record.server.pid]


@pytest.mark.parametrize("ends", [True, False], ids=["killed", "its number has been taken"])
def test_what_a_killed_server_leaves_is_removed(
    shell: list[str], home: RemoteHome, key: str, sleeper: str, ends: bool
) -> None:
    """Its own runtime files, wherever they are; never those that another node wrote for the same number."""
    home.env["JUPYTER_RUNTIME_DIR"] = f"{home.path}/run time"
    report = launch(shell, home, key, sleeper, kind="jupyter")
    pid = (report.one("launched") or "").split(" ")[0]
    wait_for_program(int(pid), "sleep")
    del home.env["JUPYTER_RUNTIME_DIR"]
    own = [
        home.write(f"run time/jpserver-{pid}{end}", '{"port": 7001,\n}') for end in (".json", "-open.html")
    ]
    foreign = ".local/share/jupyter/runtime"
    theirs = [
        home.write(f"{foreign}/jpserver-{pid}{end}", '{"port": 70011,\n}') for end in (".json", "-open.html")
    ]
    other = [home.write(f"run time/nbserver-1{end}", '{"port": 7001,\n}') for end in (".json", "-open.html")]
    needle = '"port": 7001,'
    if ends:
        assert stop(shell, home, key, report, kind="jupyter", needle=needle).one("ended") is not None
    else:
        wrong = {"started": "1@never", "needle": needle}
        assert stop(shell, home, key, report, kind="jupyter", **wrong).one("ended") is not None
    assert [os.path.exists(path) for path in own] == [not ends] * 2
    assert all(map(os.path.exists, [*theirs, *other]))


@pytest.mark.root
@pytest.mark.long
def test_a_squatted_directory_in_tmp(shell: list[str], key: str) -> None:
    """Somebody else has our name in /tmp: as a directory, a link, a file. One start of several wins."""
    with new_account() as victim, new_account() as squatter:
        run_dir = f"/tmp/jtunnel-{victim.uid}"
        trap = f"/tmp/{key}-trap"
        for squat in ("dir", "link", "file"):
            if squat == "dir":
                as_user(squatter, ["mkdir", "-m", "777", run_dir])
                # What would be taken for a lock that is held by a process which lives.
                as_user(squatter, ["ln", "-s", "1:1@x", f"{run_dir}/jupyter-{key}@{NODE}.lock"])
            elif squat == "link":
                as_user(squatter, ["mkdir", "-m", "777", trap])
                as_user(squatter, ["ln", "-s", trap, run_dir])
            else:
                as_user(squatter, ["touch", run_dir])
            try:
                with ThreadPoolExecutor(3) as pool:
                    reports = list(pool.map(lambda _: launch_as(shell, victim, key), range(3)))
                launched = [report for report in reports if report.one("launched") is not None]
                assert len(launched) == 1, [report.lines for report in reports]
                assert [report.one("attached") for report in reports].count("") == 2
                assert not os.path.exists(trap) or os.listdir(trap) == []
                home = victim.path(f".local/share/jtunnel/run@{NODE}")
                assert stat.S_IMODE(os.stat(home).st_mode) == 0o700
                assert os.listdir(home) == []
                processes.kill(victim.processes())
            finally:
                remove(run_dir)
                remove(trap)


def remove(path: str) -> None:
    """Remove whatever is there."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def as_user(account: Account, command: list[str], text: str = "") -> str:
    """Run a command as that account."""
    done = subprocess.run(
        ["setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups", *command],
        input=text,
        env={"HOME": account.home, "PATH": SYSTEM_PATH, processes.MARK: os.environ[processes.MARK]},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def launch_as(shell: list[str], account: Account, key: str) -> Report:
    """Run launch.sh as that account."""
    values = launch_values(account.home, "/bin/sleep") | {"arguments": "/bin/sleep 600"}
    text = compose("launch", "n", {"key": key, **values})
    return read_report(CommandResult(0, as_user(account, [*shell, "-s"], text), ""), "n")


@pytest.mark.root
def test_no_runtime_files_in_another_users_directory(home: RemoteHome, key: str, sleeper: str) -> None:
    """Jupyter would write a page with the token there that all can read."""
    directory = os.path.join(home.path, "for all")
    os.mkdir(directory)
    os.chmod(directory, 0o777)
    home.env["JUPYTER_RUNTIME_DIR"] = directory
    log = f".local/share/jtunnel/{key}@{NODE}.log"
    for owner, told in ((os.getuid(), directory), (65534, f"{home.path}/.local/share/jtunnel/runtime")):
        os.chown(directory, owner, -1)
        report = launch(shell_command("dash"), home, key, sleeper, kind="jupyter")
        wait_for_program(int((report.one("launched") or "").split(" ")[0]), "sleep")
        assert f"JUPYTER_RUNTIME_DIR={told}" in home.read(log).splitlines()
        stop(shell_command("dash"), home, key, report, kind="jupyter")
    assert stat.S_IMODE(os.stat(told).st_mode) == 0o700
