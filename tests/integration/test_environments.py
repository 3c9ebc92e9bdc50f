"""Finding the Python environment that a profile names, and what it is started with: conda, venvs, setup.

Most Pythons here are scripts that tell the version of a Jupyter; the last test starts a real one.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from jtunnel.config.profile import Environment, JupyterOptions, ServiceOptions
from jtunnel.errors import ServerError
from jtunnel.jupyter.jupyter import Jupyter
from jtunnel.jupyter.plan import command_words, make_request
from jtunnel.service.ground import Ground
from jtunnel.service.lacks import check_setup
from jtunnel.service.plain import PlainService
from jtunnel.service.prepare import prepare
from jtunnel.service.script import Report, run_script
from jtunnel.service.setup_lines import setup_text
from tests.support import processes
from tests.support.local_remote import RemoteHome, new_home, new_key, run
from tests.support.programs import find_program

PYTHON = "#!/bin/sh\necho version python 3.12; echo version jupyterlab 4.1.0\n"
EMPTY_PYTHON = "#!/bin/sh\n"


@pytest.fixture
def home() -> Iterator[RemoteHome]:
    with new_home() as made:
        made.env["SHELL"] = find_program("bash")
        yield made


def add_python(home: RemoteHome, prefix: str, text: str = PYTHON) -> str:
    """Make an environment below the home; the answer is its directory."""
    home.write(f"{prefix}/bin/python", text, mode=0o755)
    home.write(f"{prefix}/conda-meta/history", "")
    return os.path.join(home.path, prefix)


def options_of(
    *,
    setup: Sequence[str] = (),
    variables: Sequence[tuple[str, str]] = (),
    command: str = "jupyter lab",
    python: str | None = None,
    conda_env: str | None = None,
    venv: str | None = None,
) -> JupyterOptions:
    environment = Environment(python, conda_env, venv, setup=tuple(setup), variables=tuple(variables))
    return JupyterOptions(command=command, environment=environment, allow_root=True)


def places_of(name: str) -> list[JupyterOptions]:
    """The three ways to name an environment in the home."""
    return [
        options_of(conda_env=f"~/{name}"),
        options_of(venv=f"~/{name}"),
        options_of(python=f"~/{name}/bin/python"),
    ]


def ground_of(home: RemoteHome, options: JupyterOptions) -> Ground:
    """What prepare() finds."""
    return run(prepare(home.connect(), make_request(options, key := new_key()), key))


def report_of(home: RemoteHome, **variables: str | int) -> Report:
    """What the script says that prepare() runs, with other variables than its own."""
    names = ("port", "distributions", "versions", "python", "venv", "variables", "conda_env")
    usual: dict[str, str | int] = {**dict.fromkeys(names, "")}
    usual |= {"program": "python", "others": "", "root": "~", "nonce": "n", "hooks_s": 1, "setup_s": 1}
    key = new_key()
    usual |= {"environment_name": f"{key}.env", "setup_sh": "", "setup_csh": "", "setup_fish": ""}
    report = run(
        run_script(home.connect(), "prepare", key, timeout_s=30.0, kind="service", **{**usual, **variables})
    )
    run(run_script(home.connect(), "discard", key, timeout_s=30.0, environment_name=f"{key}.env"))
    return report


def problem_of(home: RemoteHome, options: JupyterOptions) -> ServerError:
    """What prepare() complains of; nothing of the environment is left then."""
    with pytest.raises(ServerError) as caught:
        ground_of(home, options)
    assert not kept_files(home)
    assert "\n" not in str(caught.value)
    return caught.value


def text_of(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def kept_files(home: RemoteHome) -> list[str]:
    """The environments of this home that wait for a start; other tests have theirs in the same place."""
    return [
        str(path) for path in Path(f"/tmp/jtunnel-{os.getuid()}").glob("*.env*") if home.path in text_of(path)
    ]


def variables_of(home: RemoteHome, ground: Ground) -> dict[str, str]:
    """The environment that the server would get; the file for it is removed, as a launch does."""
    path = f"/tmp/jtunnel-{os.getuid()}/{ground.environment_name}"
    assert os.stat(path).st_mode & 0o077 == 0
    command = ["/bin/sh", "-c", '. "$1"; exec env -0', "sh", path]
    done = subprocess.run(command, env=home.env, check=True, capture_output=True)
    os.unlink(path)
    return dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)


ROOTS = {
    "usual": ("miniforge3", {}, {}),
    "a name with spaces": ("opt/my conda", {"CONDA_EXE": "{home}/opt/my conda/bin/conda"}, {}),
    "the PATH": ("a/b", {"PATH": "{home}/a/b/condabin:/usr/bin:/bin"}, {}),
    "micromamba": ("deep/mm", {"MAMBA_ROOT_PREFIX": "{home}/deep/mm"}, {}),
    "bash block": (
        "far/c",
        {},
        {".bashrc": "return\n__setup=\"$('{home}/far/c/bin/conda' 'shell.bash' 'hook')\"\n"},
    ),
    "zsh block": ("far/z", {}, {".zshrc": "export MAMBA_ROOT_PREFIX='{home}/far/z';\n"}),
    "tcsh block": ("far/t", {}, {".tcshrc": 'source "$HOME/far/t/etc/profile.d/conda.csh"\n'}),
    "fish block": (
        "far/f",
        {},
        {".config/fish/config.fish": 'set -gx MAMBA_ROOT_PREFIX "{home}/far/f"\n'},
    ),
    "old installer": ("ana", {}, {".profile": 'export PATH="$HOME/ana/bin:$PATH" # anaconda\n'}),
    "login shell": ("deep/l", {}, {".bash_profile": "export CONDA_EXE=$HOME/deep/l/bin/conda\n"}),
    "setup": ("deep/s", {}, {}),
}


@pytest.mark.parametrize(
    "case", [case if case == "setup" else pytest.param(case, marks=pytest.mark.long) for case in ROOTS]
)
def test_conda_roots(home: RemoteHome, case: str) -> None:
    root, variables, files = ROOTS[case]
    home.env |= {name: value.format(home=home.path) for name, value in variables.items()}
    for name, text in files.items():
        home.write(name, text.replace("{home}", home.path))
    add_python(home, root, EMPTY_PYTHON)
    torch = add_python(home, f"{root}/envs/torch")
    setup = [f"export CONDA_EXE='{home.path}/deep/s/bin/conda'"] if case == "setup" else []
    ground = ground_of(home, options := options_of(conda_env="torch", setup=setup))
    assert ground.environment == torch
    assert command_words(ground, options, "x") == (f"{torch}/bin/python", "-P", "-m", "jupyterlab")
    found = variables_of(home, ground)
    assert found["CONDA_PREFIX"] == torch
    assert found["CONDA_DEFAULT_ENV"] == "torch"
    assert found["PATH"].startswith(f"{torch}/bin:")


@pytest.mark.long
@pytest.mark.parametrize("case", ["environments.txt", "condarc", "CONDA_ENVS_PATH"])
def test_environments_without_a_conda(home: RemoteHome, case: str) -> None:
    prefix = add_python(home, "scratch/my envs/tf")
    add_python(home, "scratch/other/not-tf")
    if case == "environments.txt":
        home.write(".conda/environments.txt", f"/gone/tf\n{prefix}\n")
    elif case == "condarc":
        home.write(
            ".condarc",
            "channels:\n  - x\nenvs_dirs:\n  - /gone\n  - ~/scratch/my envs # here\npkgs_dirs: [/x]\n",
        )
    else:
        home.env["CONDA_ENVS_PATH"] = f"/gone:{home.path}/scratch/my envs"
    assert ground_of(home, options_of(conda_env="tf")).environment == prefix


def test_base_and_directories(home: RemoteHome) -> None:
    base = add_python(home, "miniforge3")
    add_python(home, "miniforge3/envs/base-not")
    own = add_python(home, "my env")
    ground = ground_of(home, options_of(conda_env="base"))
    assert ground.environment == base
    assert variables_of(home, ground)["CONDA_DEFAULT_ENV"] == "base"
    assert ground_of(home, options_of(conda_env="~/my env/")).environment == own


def test_a_conda_environment_that_is_not_there(home: RemoteHome) -> None:
    add_python(home, "miniforge3")
    for name in ("torch", "tf"):
        add_python(home, f"miniforge3/envs/{name}")
    problem = problem_of(home, options_of(conda_env="torhc"))
    assert problem.kind == "jupyter-missing"
    assert problem.message.startswith('no conda environment "torhc" on ')
    assert f"there are base, tf, torch (in {home.path}/miniforge3/envs)" in problem.message
    assert "conda_env" in problem.advice


@pytest.mark.long
def test_what_is_not_there_is_said(home: RemoteHome) -> None:
    for wanted in places_of("none"):
        problem = problem_of(home, wanted)
        assert problem.kind == "jupyter-missing"
        assert f"no Python at {home.path}/none/bin/python on " in problem.message
    prefix = add_python(home, "empty", EMPTY_PYTHON)
    for wanted in places_of("empty"):
        problem = problem_of(home, wanted)
        assert problem.kind == "jupyter-missing"
        assert problem.message.startswith(f"the environment {prefix} on ")
        assert problem.message.endswith(" has no Jupyter")
        assert problem.advice == f"install it there: {prefix}/bin/python -m pip install jupyterlab"


def test_a_venv_is_activated(home: RemoteHome) -> None:
    home.write("my venv/bin/python", PYTHON, mode=0o755)
    home.write("my venv/pyvenv.cfg", "")
    home.env |= {"PYTHONHOME": "/none", "CONDA_PREFIX": "/none"}
    ground = ground_of(home, options_of(venv="~/my venv"))
    found = variables_of(home, ground)
    assert found["VIRTUAL_ENV"] == f"{home.path}/my venv"
    assert not {"PYTHONHOME", "CONDA_PREFIX"} & {*found}


def test_a_python_by_its_path(home: RemoteHome) -> None:
    python = home.write(
        "opt/bin/python3.12", PYTHON.replace("jupyterlab 4.1.0", "notebook 6.5.7"), mode=0o755
    )
    ground = ground_of(home, options := options_of(python=python))
    assert command_words(ground, options, "x") == (python, "-P", "-m", "notebook")
    assert ground.environment == f"{home.path}/opt"


def test_a_command_is_looked_for_in_the_environment_first(home: RemoteHome) -> None:
    prefix = add_python(home, "miniforge3/envs/torch")
    program = home.write("miniforge3/envs/torch/bin/jupyter", "#!/bin/sh\n", mode=0o755)
    home.write("bin/jupyter", "#!/bin/sh\n", mode=0o755)
    home.env["PATH"] = f"{home.path}/bin:/usr/bin:/bin"
    ground = ground_of(home, options_of(conda_env="torch", command="jupyter lab --x"))
    assert (ground.program, ground.environment) == (program, prefix)


def test_hooks_of_packages(home: RemoteHome) -> None:
    """They are bash's; one that fails, ends the shell or prints is no harm to the others."""
    home.env["SHELL"] = find_program("tcsh")
    prefix = add_python(home, "miniforge3/envs/torch")
    hooks = {
        "a": "echo noise; if [[ -n $CONDA_PREFIX ]]; then export A_HOME=$CONDA_PREFIX/a; fi\n",
        "b": "exit 3\n",
        "c": "export C_HOME='it'\"'\"'s'\nfalse\n",
        "d": "this is (no bash\n",
    }
    for name, text in hooks.items():
        home.write(f"miniforge3/envs/torch/etc/conda/activate.d/{name}.sh", text)
    found = variables_of(home, ground_of(home, options_of(conda_env="torch", variables=[("D", "x")])))
    assert (found["A_HOME"], found["C_HOME"], found["D"]) == (f"{prefix}/a", "it's", "x")


@pytest.mark.long
def test_a_hook_that_hangs(home: RemoteHome) -> None:
    prefix = add_python(home, "miniforge3/envs/torch")
    home.write("miniforge3/envs/torch/etc/conda/activate.d/a.sh", "sleep 1000\n")
    report = report_of(home, conda_env="torch", hooks_s=1)
    assert report.one("program") == f"{prefix}/bin/python"
    assert not processes.await_end(processes.running_with("HOME", home.path), 5)


MODULE = """module() {
    echo loading
    [ "$2" = python ] || { echo "no module $2" >&2; return 1; }
    PATH=$HOME/mod/bin:$PATH
}
"""
FISH_MODULE = """function module
    echo loading
    if test $argv[2] != python
        echo no module $argv[2] >&2
        return 1
    end
    set -gx PATH $HOME/mod/bin $PATH
end
"""
MODULE_COMMAND = """#!/bin/sh
[ "$2" = python ] && echo "setenv PATH '$HOME/mod/bin:$PATH'" && exit
echo "no module $2" >&2
echo false
"""
SHELLS = {
    "bash": ("bash", {".bash_profile": MODULE}),
    "bash, interactive only": (
        "bash",
        {".bash_profile": ". ~/.bashrc\n", ".bashrc": f"[[ $- == *i* ]] || return\n{MODULE}"},
    ),
    "zsh": ("zsh", {".zprofile": MODULE}),
    "zsh, interactive only": ("zsh", {".zshrc": MODULE}),
    "dash": ("dash", {".profile": f"{MODULE}export PATH\n"}),
    "tcsh": ("tcsh", {".tcshrc": "alias module 'eval `~/modulecmd \\!*`'\n", "modulecmd": MODULE_COMMAND}),
    "fish": ("fish", {".config/fish/config.fish": FISH_MODULE}),
    "bash goes on as tcsh": (
        "bash",
        {
            ".bash_profile": "exec tcsh\n",
            ".tcshrc": "alias module 'eval `~/modulecmd \\!*`'\n",
            "modulecmd": MODULE_COMMAND,
        },
    ),
    "bash goes on as fish": (
        "bash",
        {".bash_profile": "exec fish\n", ".config/fish/config.fish": FISH_MODULE},
    ),
}


def test_setup_lines_and_a_path_of_interactive_shells(home: RemoteHome) -> None:
    """The lines succeed in a login shell; the program is where only an interactive one looks."""
    home.env["SHELL"] = find_program("bash")
    program = home.write("mod/bin/jupyter", "#!/bin/sh\n", mode=0o755)
    home.write(".bash_profile", ". ~/.bashrc\n")
    home.write(".bashrc", "[[ $- == *i* ]] || return\nPATH=$HOME/mod/bin:$PATH\n")
    ground = ground_of(home, options_of(setup=["export FROM_SETUP=1"]))
    assert ground.program == program
    assert variables_of(home, ground)["FROM_SETUP"] == "1"


@pytest.mark.parametrize(
    "case", [case if case == "tcsh" else pytest.param(case, marks=pytest.mark.long) for case in SHELLS]
)
def test_setup_lines(home: RemoteHome, case: str) -> None:
    """In the account's own shell, whatever its start-up files make of it."""
    shell, files = SHELLS[case]
    home.env["SHELL"] = find_program(shell)
    for name, text in files.items():
        home.write(name, f"{text}", mode=0o755)
    program = home.write("mod/bin/jupyter", "#!/bin/sh\n", mode=0o755)
    lines = ["module load python", "echo 'it'\\''s' && echo \"done\""]
    ground = ground_of(home, options_of(setup=lines))
    assert ground.program == program
    assert f"{home.path}/mod/bin" in variables_of(home, ground)["PATH"].split(":")
    problem = problem_of(home, options_of(setup=["module load python", "module load pytroch", "echo never"]))
    assert problem.kind == "jupyter-failed"
    assert problem.message.startswith(f"the setup line `module load pytroch` failed in {shell} on ")
    assert problem.message.endswith(": no module pytroch")
    assert "[profiles." in problem.advice


@pytest.mark.long
@pytest.mark.parametrize("line", ["exit 3", "if true; then", "echo 'open", "no-such-command", "return 5"])
def test_setup_lines_with_mistakes(home: RemoteHome, line: str) -> None:
    problem = problem_of(home, options_of(setup=["true", line, "echo never"]))
    assert f"the setup line `{line}` failed in bash" in problem.message
    assert "line 1" not in problem.message


@pytest.mark.long
def test_a_setup_line_that_hangs(home: RemoteHome) -> None:
    lines = ["true", "sleep 1000"]
    report = report_of(home, setup_sh=setup_text(lines, "sh", "n"), setup_s=2)
    with pytest.raises(ServerError, match="`sleep 1000` did not come to an end in bash on node7"):
        check_setup(report, "node7", lines, "[profiles.x.jupyter]")
    assert not processes.await_end(processes.running_with("HOME", home.path), 5)


def test_variables_win_and_are_taken_as_they_are(home: RemoteHome) -> None:
    home.write(".bash_profile", "PATH=$HOME/x/bin:$PATH\nexport A=shell\n")
    home.write("x/bin/jupyter", "#!/bin/sh\n", mode=0o755)
    value = 'it\'s "$HOME" `id`\n\\ second line '
    variables = [("A", value), ("program", "mine"), ("root", "/none"), ("nonce", "0"), ("uid", "7")]
    ground = ground_of(home, options_of(setup=["export B=line A=line state=other"], variables=variables))
    assert ground.root_dir == home.path
    found = variables_of(home, ground)
    assert (found["A"], found["B"], found["program"], found["uid"]) == (value, "line", "mine", "7")
    assert found["state"] == "other"


@pytest.mark.long
def test_other_shells_of_the_home(home: RemoteHome) -> None:
    """Without a terminal, a zsh that .bash_profile goes on with reads no .zshrc."""
    program = home.write("x/bin/jupyter", "#!/bin/sh\n", mode=0o755)
    home.write(".bash_profile", "[ -t 0 ] && exec zsh -l\n")
    home.write(".zshrc", "path=($HOME/x/bin $path)\n")
    assert ground_of(home, JupyterOptions()).program == program


@pytest.mark.long
@pytest.mark.parametrize(
    "place", [".local/share/uv/tools/jl/bin", ".local/pipx/venvs/x/bin", "anaconda3/bin"]
)
def test_tools(home: RemoteHome, place: str) -> None:
    program = home.write(f"{place}/jupyter-lab", "#!/bin/sh\n", mode=0o755)
    assert ground_of(home, JupyterOptions()).program == program


def test_plain_services_have_environments(home: RemoteHome) -> None:
    prefix = add_python(home, "miniforge3/envs/torch", EMPTY_PYTHON)
    environment = Environment(conda_env="torch", setup=("export A=1",))
    service = PlainService(
        ServiceOptions(command="tensorboard --x {port}", environment=environment), new_key()
    )
    with pytest.raises(ServerError) as caught:
        run(service.prepare(home.connect()))
    assert f"the environment {prefix} on" in caught.value.message
    assert caught.value.message.endswith("has no tensorboard")
    program = home.write("miniforge3/envs/torch/bin/tensorboard", "#!/bin/sh\n", mode=0o755)
    ground = run(service.prepare(home.connect()))
    assert (ground.program, ground.environment, ground.versions) == (program, prefix, {})
    assert variables_of(home, ground)["A"] == "1"


@pytest.mark.long
def test_a_real_start(home: RemoteHome, jupyter_bin: str) -> None:
    """JupyterLab in a conda-like environment; its own environment has all, its arguments no secret."""
    add_python(home, "miniforge3", EMPTY_PYTHON)
    torch = os.path.join(home.path, "miniforge3/envs/torch")
    os.makedirs(os.path.dirname(torch))
    os.symlink(os.path.dirname(jupyter_bin), torch)
    home.write(".bash_profile", "echo noise\nmodule() { export LOADED=$2; }\n")
    home.write("jupyterlab.py", "raise SystemExit('not this one')\n")
    options = options_of(conda_env="torch", setup=["module load cuda"], variables=[("SECRET", "hunter 2")])
    remote, jupyter = home.connect(), Jupyter(options, new_key())

    async def check() -> None:
        server = await jupyter.start(remote)
        try:
            text = await asyncio.to_thread(Path(f"/proc/{server.pid}/environ").read_text)
            found = dict(line.split("=", 1) for line in text.split("\0") if line)
            assert found["SECRET"] == "hunter 2"
            assert found["LOADED"] == "cuda"
            assert found["CONDA_PREFIX"] == torch
            assert server.environment == torch
            assert "hunter" not in await asyncio.to_thread(Path(f"/proc/{server.pid}/cmdline").read_text)
        finally:
            await jupyter.stop(remote, server)

    run(check())
    assert not kept_files(home)


def test_a_python_that_prints_by_itself(home: RemoteHome) -> None:
    """What sitecustomize or a .pth file prints is neither a version nor anything else that we would say."""
    chatty = "#!/bin/sh\necho version; echo process begins; echo version of mine\n"
    prefix = add_python(home, "chatty", chatty + PYTHON)
    ground = ground_of(home, options_of(conda_env=prefix))
    assert (ground.environment, ground.versions["jupyterlab"]) == (prefix, "4.1.0")
    assert variables_of(home, ground)["CONDA_PREFIX"] == prefix
    nothing = add_python(home, "nothing", chatty)
    assert "has no Jupyter" in problem_of(home, options_of(conda_env=nothing)).message


def test_environments_of_a_file_from_elsewhere(home: RemoteHome) -> None:
    prefix = add_python(home, "scratch/tf")
    home.write(".conda/environments.txt", f"/none/tf\r\n{prefix}\r\n")
    ground = ground_of(home, options_of(conda_env="tf"))
    assert ground.environment == prefix
    variables_of(home, ground)
