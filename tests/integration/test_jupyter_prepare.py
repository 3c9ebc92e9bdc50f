"""Finding the program on accounts as they are: login shells of all kinds, noisy and slow start-up files."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ChannelError, ServerError
from jtunnel.jupyter.plan import make_request
from jtunnel.service.ground import Ground
from jtunnel.service.prepare import prepare
from tests.support import processes
from tests.support.home import SYSTEM_PATH
from tests.support.local_remote import RemoteHome, new_home, new_key, run
from tests.support.programs import find_program

NOISE = "echo welcome; printf 'no newline'"


@pytest.fixture
def home() -> Iterator[RemoteHome]:
    with new_home() as made:
        # A jupyter that no Python belongs to: its versions are unknown.
        made.write("tools/bin/jupyter", "#!/bin/sh\nexit 1\n", mode=0o755)
        yield made


def ground_of(home: RemoteHome, options: JupyterOptions | None = None) -> Ground:
    """What prepare() finds."""

    return run(prepare(home.connect(), make_request(options or JupyterOptions(), key := new_key()), key))


def problem_of(home: RemoteHome, options: JupyterOptions | None = None) -> ServerError:
    """What prepare() complains of."""
    with pytest.raises(ServerError) as caught:
        ground_of(home, options)
    return caught.value


GUARD = "case $- in *i*) ;; *) return ;; esac\n"
RC_FILES = {
    "bash profile": ("bash", ".bash_profile", f"{NOISE}\nPATH=$HOME/tools/bin:$PATH\n"),
    # conda's lines stand below the guard that Debian's .bashrc begins with.
    "bash behind a guard": ("bash", ".bashrc", f"{GUARD}{NOISE}\nPATH=$HOME/tools/bin:$PATH\n"),
    "dash profile": ("dash", ".profile", f"{NOISE}\nPATH=$HOME/tools/bin:$PATH\nexport PATH\n"),
    "tcsh login": ("tcsh", ".login", 'echo "hi $USER"\nsetenv PATH "$HOME/tools/bin:$PATH"\n'),
    "tcsh cshrc": ("tcsh", ".cshrc", 'echo welcome\necho -n x\nsetenv PATH "$HOME/tools/bin:$PATH"\n'),
    "fish config": ("fish", ".config/fish/config.fish", "echo welcome\nset -gx PATH $HOME/tools/bin $PATH\n"),
    "fish login": (
        "fish",
        ".config/fish/config.fish",
        "if status is-login\necho hi; set -gx PATH $HOME/tools/bin $PATH\nend\n",
    ),
    "a failing file": (
        "bash",
        ".bash_profile",
        "PATH=$HOME/tools/bin:$PATH\nfalse\nno-such-command\nexec 2>&-\n",
    ),
    "a slow file": ("bash", ".bash_profile", "sleep 3; PATH=$HOME/tools/bin:$PATH\n"),
}


@pytest.mark.parametrize("case", RC_FILES)
def test_program_by_start_up_files(home: RemoteHome, case: str) -> None:
    shell, name, text = RC_FILES[case]
    home.env["SHELL"] = find_program(shell)
    if name == ".bashrc":
        home.write(".bash_profile", ". ~/.bashrc\n")
    home.write(name, text)
    ground = ground_of(home)
    assert ground.program == f"{home.path}/tools/bin/jupyter"
    assert ground.root_dir == home.path


@pytest.mark.long
def test_a_start_up_file_that_never_ends(home: RemoteHome) -> None:
    """It is given up, and its processes with it; the usual places are searched all the same."""
    home.env["SHELL"] = find_program("bash")
    home.write(".bash_profile", "sleep 1000\n")
    program = home.write(".local/bin/jupyter", "#!/bin/sh\n", mode=0o755)
    assert ground_of(home).program == program
    assert not processes.await_end(processes.running_with("HOME", home.path), 5)


def test_a_noisy_shell_for_every_command(home: RemoteHome) -> None:
    """bash reads .bashrc for sshd's commands too; here BASH_ENV does that."""
    home.env["SHELL"] = find_program("bash")
    home.env["BASH_ENV"] = home.write("noise", f"{NOISE}\necho oops >&2\nPATH=$HOME/tools/bin:$PATH\n")
    assert ground_of(home).program == f"{home.path}/tools/bin/jupyter"


#: What start-up files do to the standard input and output of a session.
IN_THE_WAY = {
    "reads a line": "read -t 1 x; read -t 1 y\n",
    "reads a key": "read -t 1 -n 1 x\n",
    "leaves a process": "sleep 300 &\n",
}


@pytest.mark.parametrize("case", IN_THE_WAY)
def test_a_start_up_file_in_the_way(home: RemoteHome, case: str) -> None:
    """For every command, and for the login shell that is asked for its PATH."""
    home.env["SHELL"] = find_program("bash")
    home.env["BASH_ENV"] = home.write("each", IN_THE_WAY[case])
    home.write(".bash_profile", f"{IN_THE_WAY[case]}PATH=$HOME/tools/bin:$PATH\n")
    ground = run(prepare(home.connect(), make_request(JupyterOptions(), key := new_key()), key), within_s=30)
    assert ground.program == f"{home.path}/tools/bin/jupyter"


@pytest.mark.parametrize("reader", ["cat >/dev/null", "head -1 >/dev/null"])
@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh", "fish"])
def test_a_start_up_file_that_reads_everything(home: RemoteHome, shell: str, reader: str) -> None:
    home.env["SHELL"] = find_program(shell)
    home.env["BASH_ENV"] = home.write("each", f"{reader}\n")
    for name in (".zshenv", ".cshrc", ".config/fish/config.fish"):
        home.write(name, f"{reader}\n")
    problem = problem_of(home)
    assert problem.kind == "jupyter-failed"
    assert "reads standard input" in problem.message


def test_a_shell_that_is_killed_is_tried_again(home: RemoteHome) -> None:
    home.env["SHELL"] = home.write("killed", "#!/bin/sh\necho welcome\nkill -KILL $$\n", mode=0o755)
    with pytest.raises(ChannelError) as caught:
        ground_of(home)
    assert caught.value.kind == "connection-lost"


def test_a_shell_that_runs_nothing(home: RemoteHome) -> None:
    home.env["SHELL"] = home.write("nologin", "#!/bin/sh\necho This account is not available.\n", mode=0o755)
    problem = problem_of(home)
    assert problem.kind == "jupyter-failed"
    assert "This account is not available." in problem.message


def test_missing(home: RemoteHome) -> None:
    problem = problem_of(home)
    assert problem.kind == "jupyter-missing"
    assert "no jupyter on" in problem.message
    assert len(problem.message) < 120
    assert "install jupyterlab" in problem.advice
    problem = problem_of(home, JupyterOptions(command="/opt/none/jupyter lab"))
    assert "no /opt/none/jupyter on" in problem.message


def test_programs_named_by_a_path(home: RemoteHome) -> None:
    path = home.write("my tools/jl", "#!/bin/sh\n", mode=0o755)
    assert ground_of(home, JupyterOptions(command="'~/my tools/jl' --x")).program == path
    assert ground_of(home, JupyterOptions(command=f"'{path}' --x")).program == path


def test_usual_places(home: RemoteHome) -> None:
    program = home.write("miniforge3/bin/jupyter-lab", "#!/bin/sh\n", mode=0o755)
    assert ground_of(home).program == program


def test_versions_by_the_programs_own_python(home: RemoteHome, jupyter_bin: str) -> None:
    home.env["PATH"] = f"{jupyter_bin}:{SYSTEM_PATH}"
    ground = ground_of(home)
    assert ground.program == f"{jupyter_bin}/jupyter"
    assert os.path.dirname(ground.interpreter) == jupyter_bin
    assert ground.versions["jupyterlab"].startswith("4.")
    assert ground.versions["jupyter_server"].startswith("2.")


@pytest.mark.parametrize(
    "head",
    [
        "#!{python}\n",
        "#! {python} -E\n",
        "#!/usr/bin/env python3\n",
        "#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n",
        "#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''\n",
    ],
)
def test_interpreters(home: RemoteHome, jupyter_bin: str, head: str) -> None:
    """pip writes the last two forms where the path is long or has spaces."""
    python = f"{jupyter_bin}/python3"
    home.env["PATH"] = f"{home.path}/tools/bin:{jupyter_bin}:{SYSTEM_PATH}"
    home.write("tools/bin/jupyter", head.format(python=python), mode=0o755)
    ground = ground_of(home)
    assert ground.program == f"{home.path}/tools/bin/jupyter"
    assert ground.interpreter == python
    assert "jupyterlab" in ground.versions


def test_a_jupyter_without_a_server_is_passed_over(home: RemoteHome, jupyter_bin: str) -> None:
    """Some distributions install the bare `jupyter`."""
    home.write("tools/bin/jupyter", f"#!{find_program('python3')} -IS\n", mode=0o755)
    home.env["PATH"] = f"{home.path}/tools/bin:{SYSTEM_PATH}"
    os.symlink(os.path.dirname(jupyter_bin), os.path.join(home.path, "miniforge3"))
    ground = ground_of(home)
    assert ground.program == f"{home.path}/miniforge3/bin/jupyter"
    assert "jupyterlab" in ground.versions


def test_directories(home: RemoteHome) -> None:
    home.env["PATH"] = f"{home.path}/tools/bin:{SYSTEM_PATH}"
    os.mkdir(os.path.join(home.path, "work"))
    for name in ("~/work", "work", f"{home.path}/work"):
        assert ground_of(home, JupyterOptions(directory=name)).root_dir == f"{home.path}/work"
    problem = problem_of(home, JupyterOptions(directory="~/none"))
    assert problem.kind == "jupyter-failed"
    assert f"{home.path}/none" in problem.message


def test_a_port_that_is_taken(home: RemoteHome) -> None:
    home.env["PATH"] = f"{home.path}/tools/bin:{SYSTEM_PATH}"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        problem = problem_of(home, JupyterOptions(remote_port=port))
        assert port in ground_of(home).ports
    assert problem.kind == "jupyter-failed"
    assert f"port {port}" in problem.message
    assert f"(pid {os.getpid()})" in problem.message
    assert ground_of(home, JupyterOptions(remote_port=port)).program
