"""The scripts for the remote, under the shells that may be its /bin/sh; without a Jupyter."""

from __future__ import annotations

import json
import os
import shlex
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from jtunnel.address import TcpAddress
from jtunnel.errors import ServerError
from jtunnel.jupyter.seen import see
from jtunnel.remote import CommandResult
from jtunnel.remote_shell import PREAMBLE, door
from jtunnel.service.record import Record, record_text
from jtunnel.service.script import Kind, Report, compose, read_report
from jtunnel.service.server import Server
from jtunnel.service.survey import Survey, read_survey
from tests.support import processes
from tests.support.local_remote import RemoteHome, new_home, new_key
from tests.support.programs import find_program
from tests.support.remote_scripts import NODE, SHELL_NAMES, launch, shell_command, stop
from tests.support.remote_scripts import run as run_plainly


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


def run(shell: list[str], home: RemoteHome, name: str, key: str, **variables: str | int) -> Report:
    """Run a script of the kind that it is for."""
    kind: Kind = "jupyter" if name in ("find", "prepare") else "service"
    return run_plainly(shell, home, name, key, kind, "", **variables)


@pytest.fixture
def sleeper(home: RemoteHome) -> str:
    """A program that tells what it was started with, and stays."""
    return home.write(
        "bin/sleeper",
        '#!/bin/sh\necho "said $1" "$(umask)" "$JUPYTER_TOKEN_FILE" "$PATH"\n'
        'grep SigIgn /proc/self/status\necho "cwd $(pwd)"\nexec sleep 600\n',
        mode=0o755,
    )


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something has come about on this machine."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_life(shell: list[str], home: RemoteHome, key: str, sleeper: str) -> None:
    """Launched once, detached and recorded; found again by the second start; ended."""
    report = launch(shell, home, key, sleeper, token="0123456789abcdef")
    pid, started = (report.one("launched") or "").split(" ")
    process = psutil.Process(int(pid))
    survey = read_survey(report)
    assert survey.record is not None
    assert (survey.record.server.pid, survey.record.server.started) == (int(pid), started)
    assert survey.processes[int(pid)] == (started, os.getuid())
    assert survey.token == "0123456789abcdef"
    wait_for(lambda: process.name() == "sleep")
    assert os.getsid(process.pid) == process.pid

    token_file = os.path.join(home.path, f".local/share/jtunnel/{key}.token")
    log = os.path.join(home.path, f".local/share/jtunnel/{key}@{NODE}.log")
    for path, mode in ((token_file, 0o600), (os.path.dirname(token_file), 0o700), (log, 0o600)):
        assert stat.S_IMODE(os.stat(path).st_mode) == mode

    second = launch(shell, home, key, sleeper, token="another")
    assert second.one("attached") is not None
    assert read_survey(second).record == survey.record
    assert read_survey(second).token == "0123456789abcdef"

    elsewhere = stop(shell, home, key, report, host="gpu02")
    assert elsewhere.one("elsewhere") == NODE
    assert stop(shell, home, key, report, started="1@never").one("ended") is not None
    assert processes.is_live(process)
    assert stop(shell, home, key, report).one("ended") is not None
    assert not processes.is_live(process)
    assert not os.path.exists(os.path.join(home.path, f".local/share/jtunnel/{key}@{NODE}.json"))

    said, ignored, cwd = home.read(f".local/share/jtunnel/{key}@{NODE}.log").splitlines()
    assert said.startswith(
        f"said it's an $argument {os.umask(os.umask(0o22)):04o} {token_file} {home.path}/bin:"
    )
    # HUP by nohup; never INT and QUIT, which kernels need.
    assert int(ignored.split()[1], 16) & 0b111 == 0b001
    assert cwd == f"cwd {home.path}"


def test_two_starts_at_once_start_one(shell: list[str], home: RemoteHome, key: str, sleeper: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: launch(shell, home, key, sleeper), range(4)))
    launched = [report for report in reports if report.one("launched") is not None]
    assert len(launched) == 1
    assert [report.one("attached") for report in reports].count("") == 3
    assert len({read_survey(report).record for report in reports}) == 1
    stop(shell, home, key, launched[0])


def test_a_lock_of_a_dead_process_is_broken(
    shell: list[str], home: RemoteHome, key: str, sleeper: str
) -> None:
    lock = f"/tmp/jtunnel-{os.getuid()}/jupyter-{key}@{NODE}.lock"
    os.makedirs(os.path.dirname(lock), mode=0o700, exist_ok=True)
    ended = subprocess.Popen(["true"])
    ended.wait()
    os.symlink(f"{ended.pid}:1@boot", lock)
    report = launch(shell, home, key, sleeper)
    assert report.one("launched") is not None
    assert not os.path.lexists(lock)
    stop(shell, home, key, report)


def test_a_recorded_process_that_is_passed_over(
    shell: list[str], home: RemoteHome, key: str, sleeper: str
) -> None:
    first = launch(shell, home, key, sleeper)
    second = launch(shell, home, key, sleeper, passed_over=first.one("launched") or "")
    assert second.one("launched") not in (None, first.one("launched"))
    # The record is the second's by now, and stays.
    stop(shell, home, key, first)
    assert read_survey(run(shell, home, "find", key, root="~", pid="")).record is not None
    stop(shell, home, key, second)


@pytest.mark.long
def test_term_that_is_ignored_is_followed_by_kill(home: RemoteHome, key: str) -> None:
    shell = [find_program("dash")]
    stubborn = home.write("stubborn", '#!/bin/sh\ntrap "" TERM\nwhile :; do sleep 600; done\n', mode=0o755)
    report = launch(shell, home, key, stubborn)
    wait_for(lambda: "sleep" in [process.name() for process in processes.running_with("HOME", home.path)])
    assert stop(shell, home, key, report).one("ended") is not None
    processes.kill(processes.running_with("HOME", home.path))


def test_a_group_ends_with_its_leader(shell: list[str], home: RemoteHome, key: str) -> None:
    wrapper = home.write("wrapper", "#!/bin/sh\nsleep 600\nexit 0\n", mode=0o755)
    report = launch(shell, home, key, wrapper)
    wait_for(lambda: "sleep" in [process.name() for process in processes.running_with("HOME", home.path)])
    assert stop(shell, home, key, report, group="1").one("ended") is not None
    assert not processes.await_end(processes.running_with("HOME", home.path), 5)


def test_a_home_that_cannot_be_written_is_said(
    shell: list[str], home: RemoteHome, key: str, sleeper: str
) -> None:
    home.write(".local/share/jtunnel", "in the way")
    report = launch(shell, home, key, sleeper)
    assert report.one("failed") == f"cannot write {home.path}/.local/share/jtunnel"
    assert not processes.running_with("HOME", home.path)


@pytest.mark.parametrize("proc", ["/proc", "/nowhere"])
def test_process_facts(shell: list[str], home: RemoteHome, key: str, proc: str) -> None:
    """With /proc and, as on macOS, by ps; a zombie and a number without a process are none."""
    home.env["jtunnel_proc"] = proc
    me = run(shell, home, "check", key, pid=os.getpid(), sock="")
    again = run(shell, home, "check", key, pid=os.getpid(), sock="")
    found = read_survey(me).processes
    assert found[os.getpid()][1] == os.getuid()
    assert found == read_survey(again).processes
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert read_survey(run(shell, home, "check", key, pid=zombie.pid, sock="")).processes == {}
    zombie.wait()
    assert read_survey(run(shell, home, "check", key, pid=zombie.pid, sock="")).processes == {}
    assert read_survey(run(shell, home, "check", key, pid=0, sock="")).processes == {}


def find(shell: list[str], home: RemoteHome, key: str) -> Survey:
    """What find.sh finds."""
    return read_survey(run(shell, home, "find", key, root="~", pid=""))


def write_record(home: RemoteHome, key: str, node: str, *, age_s: float, pid: int = 1) -> None:
    """A record of another node, or of another machine by the name of this one."""
    server = Server(TcpAddress("127.0.0.1", 1), "/", "", pid, "1@other", node, None, "/", "started")
    text = record_text(Record(server, "x", ready=True))
    path = home.write(f".local/share/jtunnel/{key}@{node}.json", text)
    then = time.time() - age_s
    os.utime(path, (then, then))


def test_records_of_other_nodes(shell: list[str], home: RemoteHome, key: str, sleeper: str) -> None:
    """The newest first; none that is older than the record here, and none at all while that one runs."""
    assert find(shell, home, key).others == ()
    for node, age_s in (("ln03", 300), ("ln04", 100), ("ln05", 200)):
        write_record(home, key, node, age_s=age_s)
    write_record(home, f"{key}x", "ln06", age_s=0)
    assert [record.server.host for record in find(shell, home, key).others] == ["ln04", "ln05", "ln03"]
    write_record(home, key, NODE, age_s=250)
    assert [record.server.host for record in find(shell, home, key).others] == ["ln04", "ln05"]
    report = launch(shell, home, key, sleeper)
    write_record(home, key, "ln03", age_s=-100)
    assert find(shell, home, key).others == ()
    stop(shell, home, key, report)
    assert [record.server.host for record in find(shell, home, key).others] == ["ln03", "ln04", "ln05"]


def test_a_node_that_was_preferred_stays_so(
    shell: list[str], home: RemoteHome, key: str, sleeper: str
) -> None:
    """Also when its server has been stopped; until another node gets a newer one."""
    write_record(home, key, "ln03", age_s=100)
    stop(shell, home, key, launch(shell, home, key, sleeper, here="1"))
    assert find(shell, home, key).others == ()
    write_record(home, key, "ln04", age_s=-100)
    assert [record.server.host for record in find(shell, home, key).others] == ["ln04"]
    assert os.path.exists(os.path.join(home.path, f".local/share/jtunnel/{key}@ln03.json"))


def test_a_process_recorded_under_another_name_of_the_node(
    shell: list[str], home: RemoteHome, key: str
) -> None:
    write_record(home, key, "ln03", age_s=0, pid=os.getpid())
    found = find(shell, home, key)
    assert os.getpid() in found.processes
    with open("/proc/sys/kernel/random/boot_id") as file:
        assert found.boot == file.read().strip()
    assert found.processes[os.getpid()][0].endswith(f"@{found.boot}")


@pytest.mark.parametrize(
    "told", ["ln02.cluster.example", pytest.param("slow", marks=pytest.mark.long), "-", NODE]
)
def test_names_of_a_node(shell: list[str], home: RemoteHome, key: str, told: str) -> None:
    """The address that the login came to, and the full name if it comes soon and is another one."""
    home.write(
        "bin/hostname",
        f"#!/bin/sh\n[ $1 != -f ] || {'exec sleep 600' if told == 'slow' else f'echo {told}'}\n",
        mode=0o755,
    )
    home.env |= {"PATH": f"{home.path}/bin:{home.env['PATH']}", "SSH_CONNECTION": "10.0.0.9 5000 10.0.0.2 22"}
    full = (told,) if "." in told else ()
    assert find(shell, home, key).names == ("10.0.0.2", *full)
    assert not processes.await_end(processes.running_with("HOME", home.path), 5)
    home.env["SSH_CONNECTION"] = "127.0.0.1 5000 127.0.0.1 22"
    assert find(shell, home, key).names == full


SETTINGS = "c.ServerApp.tornado_settings = {'headers': {}}\n"


@pytest.mark.parametrize(
    ("file", "text", "theirs"),
    [
        (".jupyter/jupyter_server_config.py", SETTINGS, True),
        (".jupyter/jupyter_lab_config.py", f"if True:\n    {SETTINGS}", True),
        (".jupyter/jupyter_server_config.json", '{"ServerApp": {"tornado_settings": {}}}', True),
        (".jupyter/jupyter_server_config.d/x.json", '{"ServerApp": {"tornado_settings": {}}}', True),
        ("my config/jupyter_config.py", SETTINGS, True),
        ("site/jupyter_notebook_config.py", SETTINGS, True),
        ("tools/etc/jupyter/jupyter_server_config.py", SETTINGS, True),
        ("jupyter_server_config.py", SETTINGS, True),
        (".jupyter/jupyter_server_config.py", f"# {SETTINGS}c.ServerApp.port = 1\n", False),
        (".jupyter/notes.py", SETTINGS, False),
    ],
)
def test_tornado_settings_of_the_user_are_seen(
    shell: list[str], home: RemoteHome, key: str, file: str, text: str, theirs: bool
) -> None:
    home.write("tools/bin/sleeper", "#!/usr/bin/python\n", mode=0o755)
    home.write("tools/bin/python", "#!/bin/sh\necho version jupyter_server 2.0\n", mode=0o755)
    home.env |= {
        "PATH": f"{home.path}/tools/bin:{home.env['PATH']}",
        "JUPYTER_CONFIG_PATH": f"/x:{home.path}/site:/y",
    }
    if file.startswith("my config"):
        home.env["JUPYTER_CONFIG_DIR"] = f"{home.path}/my config"
    home.write(file, text)
    found = prepare(shell, home, key).one("tornado_settings")
    assert found == (
        os.path.join(home.path, os.path.dirname(file)).rstrip("/").removesuffix("/jupyter_server_config.d")
        if theirs
        else None
    )


def test_runtime_files_of_living_processes_only(shell: list[str], home: RemoteHome, key: str) -> None:
    directory = ".local/share/jupyter/runtime"
    ended = subprocess.Popen(["true"])
    ended.wait()
    members = '{"base_url": "/", "port": %s, "token": "t", "root_dir": "/x y"}'
    stale = home.write(f"{directory}/jpserver-{ended.pid}.json", members % 1)
    home.write(f"{directory}/jpserver-{os.getpid()}.json", members % 2)
    home.write(f"{directory}/nbserver-{os.getppid()}.json", '{"base_url": "/", "por')
    home.write(f"{directory}/jpserver-x; touch y.json", members % 3)
    files = read_survey(run(shell, home, "find", key, root="~", pid="")).runtime_files
    # The machine may run others.
    ours = [file for file in files if file.path.startswith(home.path)]
    assert [(file.pid, file.port, file.root_dir) for file in ours] == [(os.getpid(), 2, "/x y")]
    assert os.path.exists(stale)


@pytest.mark.parametrize(
    "name", ["JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"]
)
def test_runtime_directories(home: RemoteHome, key: str, name: str) -> None:
    below = {"JUPYTER_RUNTIME_DIR": "", "JUPYTER_DATA_DIR": "runtime", "XDG_DATA_HOME": "jupyter/runtime"}
    home.env[name] = os.path.join(home.path, "somewhere else")
    relative = os.path.join("somewhere else", below.get(name, "jupyter"), f"jpserver-{os.getpid()}.json")
    home.write(relative, '{"base_url": "/", "port": 2}')
    files = read_survey(run([find_program("dash")], home, "find", key, root="~", pid="")).runtime_files
    assert [file.port for file in files if file.pid == os.getpid()] == [2]


def test_the_environment_cannot_disturb(shell: list[str], home: RemoteHome, key: str, sleeper: str) -> None:
    """Exported variables that have our names neither count nor get into the server's environment."""
    home.env |= {"token": "x", "record": "/x", "log": "/x", "state": "/x", "uid": "77", "root": "/x"}
    home.env |= {"JUPYTER_TOKEN": "theirs", "proc": "/x", "run": "/x", "environment": "/x"}
    report = launch(shell, home, key, sleeper)
    pid, _ = (report.one("launched") or "").split(" ")
    process = psutil.Process(int(pid))
    wait_for(lambda: process.name() == "sleep")
    environment = process.environ()
    assert "JUPYTER_TOKEN" not in environment
    assert "0123456789abcdef" not in environment.values()
    stop(shell, home, key, report)


def prepare(shell: list[str], home: RemoteHome, key: str, **variables: str | int) -> Report:
    """Look for a program named `sleeper`."""
    values = {"program": "sleeper", "others": "", "root": "~", "port": "", "environment_name": f"{key}.env"}
    return run(shell, home, "prepare", key, **{**values, "nonce": "n", "versions": "", **variables})


def set_age(path: str, *, days: int) -> None:
    """Make a file that old."""
    then = time.time() - days * 86400
    os.utime(path, (then, then))


@pytest.mark.long
def test_a_refusal_of_sockets_is_believed_for_a_week(shell: list[str], home: RemoteHome, key: str) -> None:
    assert prepare(shell, home, key).one("sockets") is None
    run(shell, home, "refuse", key)
    assert prepare(shell, home, key).one("sockets") == "refused"
    marker = os.path.join(home.path, f".local/share/jtunnel/no-sockets@{NODE}")
    set_age(marker, days=8)
    assert prepare(shell, home, key).one("sockets") is None
    run(shell, home, "refuse", key)
    assert prepare(shell, home, key).one("sockets") == "refused"
    set_age(marker, days=6)
    assert prepare(shell, home, key).one("sockets") == "refused"


def test_an_environment_stays_only_for_a_start(
    shell: list[str], home: RemoteHome, key: str, sleeper: str
) -> None:
    home.write(".profile", f"PATH={shlex.quote(os.path.dirname(sleeper))}:$PATH\nexport PATH\n")
    environment = f"/tmp/jtunnel-{os.getuid()}/{key}.env"
    assert prepare(shell, home, key, root="/none").one("no_root") == "/none"
    assert not os.path.exists(environment)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert prepare(shell, home, key, port=taken.getsockname()[1]).one("taken") is not None
    assert not os.path.exists(environment)
    assert prepare(shell, home, key).one("program") == sleeper
    assert os.path.exists(environment)
    run(shell, home, "discard", key, environment_name=f"{key}.env")
    assert not os.path.exists(environment)


def test_a_failed_launch_leaves_no_environment(
    shell: list[str], home: RemoteHome, key: str, sleeper: str
) -> None:
    home.write(".profile", f"PATH={shlex.quote(os.path.dirname(sleeper))}:$PATH\nexport PATH\n")
    prepare(shell, home, key)
    home.write(".local/share/jtunnel", "in the way")
    assert launch(shell, home, key, sleeper, environment_name=f"{key}.env").one("failed") is not None
    assert not os.path.exists(f"/tmp/jtunnel-{os.getuid()}/{key}.env")


@pytest.mark.parametrize(
    ("eaten", "runs"),
    [(0, True), (3, True), (64, True), (66, False), (72, False), (500, False), (10**6, False)],
)
def test_a_script_runs_only_if_its_beginning_is_there(
    shell: list[str], home: RemoteHome, key: str, eaten: int, runs: bool
) -> None:
    """Start-up files may read any number of bytes of it."""
    home.write(".local/share/jtunnel/x", "")
    script = PREAMBLE + compose("refuse", "n", {"key": key})
    done = subprocess.run(
        [*shell, "-c", door("n")],
        input=script[eaten:],
        env=home.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    result = CommandResult(done.returncode, done.stdout, done.stderr)
    if runs:
        read_report(result, "n")
    else:
        with pytest.raises(ServerError, match="reads standard input"):
            read_report(result, "n")
    assert done.stderr == ""
    assert os.path.exists(f"{home.path}/.local/share/jtunnel/no-sockets@{NODE}") is runs


def test_a_socket_known_by_a_relative_path(home: RemoteHome, key: str) -> None:
    """As `--ServerApp.sock=x.sock` leaves it: where that is, is not known, and said so."""
    with socket.socket(socket.AF_UNIX) as listener:
        directory = os.open(home.path, os.O_DIRECTORY)
        listener.bind(f"/proc/self/fd/{directory}/x.sock")
        os.close(directory)
        members = {"base_url": "/", "port": 0, "sock": "x.sock", "token": "", "root_dir": "/"}
        home.write(f".local/share/jupyter/runtime/jpserver-{os.getpid()}.json", json.dumps(members))
        survey = read_survey(run([find_program("dash")], home, "find", key, root="~", pid=""))
    (found,) = [each for each in see(survey, key) if each.pid == os.getpid()]
    assert "relative path, x.sock" in found.problem
