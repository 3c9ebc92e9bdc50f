"""How a server would be started, from what the remote offers."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace

import pytest

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ServerError
from jtunnel.jupyter.plan import make_plan, release
from jtunnel.service.ground import Ground

NEW = {"jupyterlab": "4.6.6", "jupyter_server": "2.21.1"}
GROUND = Ground(
    node="gpu01",
    uid=1000,
    log="/home/me/x.log",
    program="/opt/bin/jupyter",
    interpreter="/opt/bin/python",
    versions=NEW,
    environment_name="x.env",
    root_dir="/home/me/work space",
    socket_dir="/tmp/jtunnel-1000",
    sockets_refused=False,
    ports=(),
)


def test_a_socket_where_it_can_be() -> None:
    plan = make_plan(GROUND, JupyterOptions(), "gpu")
    assert isinstance(plan.target, UnixAddress)
    assert plan.target.path.startswith("/tmp/jtunnel-1000/jupyter-gpu-")
    assert plan.arguments[:3] == ("/opt/bin/jupyter", "lab", "--no-browser")
    assert f"--ServerApp.sock={plan.target.path}" in plan.arguments
    assert "--ServerApp.port=8888" in plan.arguments
    assert "--ServerApp.root_dir=/home/me/work space" in plan.arguments
    assert "--ServerApp.certfile=" in plan.arguments
    assert "--allow-root" not in plan.arguments


def test_socket_paths_are_short_whatever_the_profile_is_called() -> None:
    ground = replace(GROUND, socket_dir="/tmp/jtunnel-4294967295")
    for key in ("k" * 300, "ключ/" * 50, "../../etc"):
        target = make_plan(ground, JupyterOptions(), key).target
        assert isinstance(target, UnixAddress)
        assert len(target.path.encode()) <= 103
        assert target.path.count("/") == 3


@pytest.mark.parametrize(
    "ground",
    [
        replace(GROUND, sockets_refused=True),
        replace(GROUND, socket_dir=None),
        replace(GROUND, versions={}),
        replace(GROUND, versions={"jupyterlab": "3.0.0", "jupyter_server": "1.8.0"}),
    ],
)
def test_a_port_where_a_socket_cannot_be(ground: Ground) -> None:
    plan = make_plan(ground, JupyterOptions(), "gpu")
    assert isinstance(plan.target, TcpAddress)
    assert plan.target.host == "127.0.0.1"
    assert f"--ServerApp.port={plan.target.port}" in plan.arguments
    assert "--ServerApp.port_retries=0" in plan.arguments


def test_ports_in_use_are_not_chosen() -> None:
    ground = replace(GROUND, ports=set(range(20000, 32000)) - {23456})
    assert make_plan(ground, JupyterOptions(listen="tcp"), "gpu").target == TcpAddress("127.0.0.1", 23456)


def test_a_configured_port_is_tcp() -> None:
    plan = make_plan(GROUND, JupyterOptions(remote_port=9999), "gpu")
    assert plan.target == TcpAddress("127.0.0.1", 9999)


def test_an_impossible_socket_is_said() -> None:
    old = replace(GROUND, versions={"jupyterlab": "3.0.0", "jupyter_server": "1.8.0"})
    for ground in (old, replace(GROUND, socket_dir=None)):
        with pytest.raises(ServerError, match="socket") as caught:
            make_plan(ground, JupyterOptions(listen="socket"), "gpu")
        assert caught.value.kind == "jupyter-failed"
        assert "[profiles.gpu.jupyter]" in caught.value.advice


def test_root_only_when_asked_for() -> None:
    root = replace(GROUND, uid=0)
    with pytest.raises(ServerError, match="root") as caught:
        make_plan(root, JupyterOptions(), "gpu")
    assert caught.value.kind == "jupyter-failed"
    assert "allow_root" in caught.value.advice
    assert "--allow-root" in make_plan(root, JupyterOptions(allow_root=True), "gpu").arguments


@pytest.mark.parametrize(
    ("program", "versions", "words", "interface"),
    [
        ("/b/jupyter", NEW, ("/b/jupyter", "lab"), "lab"),
        ("/b/jupyter", {}, ("/b/jupyter", "lab"), "lab"),
        ("/b/jupyter", {"notebook": "6.5.7"}, ("/b/jupyter", "notebook"), "tree"),
        ("/b/jupyter", {"jupyter_server": "2.0"}, ("/b/jupyter", "server"), ""),
        ("/b/jupyter-lab", NEW, ("/b/jupyter-lab",), "lab"),
    ],
)
def test_the_default_command_is_whatever_jupyter_there_is(
    program: str, versions: Mapping[str, str], words: tuple[str, ...], interface: str
) -> None:
    plan = make_plan(replace(GROUND, program=program, versions=versions), JupyterOptions(), "gpu")
    assert plan.arguments[: len(words) + 1] == (*words, "--no-browser")
    assert plan.user_interface == interface


def test_a_configured_command_keeps_its_words() -> None:
    options = JupyterOptions(command="python -m jupyterlab --ServerApp.max_body_size=5")
    plan = make_plan(replace(GROUND, program="/b/python"), options, "gpu")
    assert plan.arguments[:4] == ("/b/python", "-m", "jupyterlab", "--ServerApp.max_body_size=5")
    assert plan.user_interface == "lab"


def test_classic_notebook_has_its_own_names() -> None:
    ground = replace(GROUND, versions={"notebook": "6.5.7", "jupyter_server": "1.24.0"})
    plan = make_plan(ground, JupyterOptions(command="jupyter notebook"), "gpu")
    assert "--NotebookApp.notebook_dir=/home/me/work space" in plan.arguments
    assert not [word for word in plan.arguments if "ServerApp" in word]
    assert isinstance(plan.target, UnixAddress)
    assert plan.user_interface == "tree"


@pytest.mark.parametrize(
    ("version", "name"),
    [("1.6.1", "JUPYTER_TOKEN"), ("1.6.2", "JUPYTER_TOKEN_FILE"), ("2.21.1", "JUPYTER_TOKEN_FILE")],
)
def test_the_token_is_in_a_file_where_that_is_understood(version: str, name: str) -> None:
    ground = replace(GROUND, versions={"jupyterlab": "3.1", "jupyter_server": version})
    assert make_plan(ground, JupyterOptions(), "gpu").token_name == name


@pytest.mark.parametrize("command", ["", "  ", "jupyter 'lab"])
def test_no_command_at_all(command: str) -> None:
    with pytest.raises(ServerError, match="not a command"):
        make_plan(GROUND, JupyterOptions(command=command), "gpu")


def test_websockets_are_pinged_often() -> None:
    arguments = make_plan(GROUND, JupyterOptions(), "gpu").arguments
    (option,) = [word for word in arguments if "tornado_settings" in word]
    name, _, value = option.partition("=")
    settings = ast.literal_eval(value)
    assert name == "--ServerApp.tornado_settings"
    assert settings == {"ws_ping_interval": 5000, "ws_ping_timeout": 22000}
    # The first check comes one interval after the opening, before any answer.
    assert settings["ws_ping_timeout"] > settings["ws_ping_interval"]
    classic = replace(GROUND, versions={"notebook": "6.5.7"})
    assert f"--NotebookApp.tornado_settings={value}" in make_plan(classic, JupyterOptions(), "gpu").arguments


@pytest.mark.parametrize(
    ("ground", "command"),
    [
        (replace(GROUND, has_tornado_settings=True), "jupyter lab"),
        (GROUND, "jupyter lab --ServerApp.tornado_settings={}"),
        (GROUND, "jupyter lab --config=x.py"),
        (GROUND, "jupyter lab --JupyterApp.config_file x.py"),
    ],
)
def test_tornado_settings_of_the_user_stay(ground: Ground, command: str) -> None:
    arguments = make_plan(ground, JupyterOptions(command=command), "gpu").arguments
    assert not [word for word in arguments if "ws_ping" in word]


def test_a_chosen_environment_runs_what_its_python_has() -> None:
    python = "/envs/torch/bin/python"
    ground = replace(GROUND, program=python, interpreter=python)
    for versions, words, interface in (
        ({**NEW, "python": "3.12"}, ("-P", "-m", "jupyterlab"), "lab"),
        ({**NEW, "python": "3.9"}, ("-m", "jupyterlab"), "lab"),
        ({"notebook": "6.5.7", "jupyter_server": "1.24.0"}, ("-m", "notebook"), "tree"),
        ({"jupyter_server": "2.1"}, ("-m", "jupyter_server"), ""),
    ):
        plan = make_plan(replace(ground, versions=versions), JupyterOptions(), "gpu")
        assert plan.arguments[: len(words) + 2] == (python, *words, "--no-browser")
        assert plan.user_interface == interface


def test_an_idle_server_ends_only_where_that_is_wanted() -> None:
    assert not [word for word in make_plan(GROUND, JupyterOptions(), "gpu").arguments if "cull" in word]
    arguments = make_plan(GROUND, JupyterOptions(idle_stop_s=8 * 3600), "gpu").arguments
    assert "--ServerApp.shutdown_no_activity_timeout=28800" in arguments
    assert "--MappingKernelManager.cull_idle_timeout=28800" in arguments
    assert "--MappingKernelManager.cull_interval=300" in arguments
    assert "--TerminalManager.cull_inactive_timeout=28800" in arguments
    classic = replace(GROUND, versions={"notebook": "6.5.7"})
    arguments = make_plan(classic, JupyterOptions(idle_stop_s=0.5), "gpu").arguments
    assert "--NotebookApp.shutdown_no_activity_timeout=1" in arguments
    assert "--MappingKernelManager.cull_interval=1" in arguments


def test_releases() -> None:
    assert release("1.24.0rc1") == (1, 24)
    assert release("2.21.1") == (2, 21, 1)
    assert release("unknown") == ()
