"""Reading the config file: values, defaults, files that cannot be read."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.config.load import SHORTEST_PROFILE, load_config
from jtunnel.config.profile import Config, Environment, Forward, JupyterOptions, Profile, ServiceOptions
from jtunnel.config.schema import ProfileTable
from jtunnel.config.server_tables import JupyterTable
from jtunnel.errors import EXIT_USAGE, ConfigError

ENVIRON = {"HOME": "/home/me"}


def load(directory: Path, text: str | bytes) -> Config:
    path = directory / "config.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_config(str(path), ENVIRON)


def refuse(directory: Path, text: str | bytes) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(directory, text)
    assert caught.value.kind == "config-invalid"
    assert caught.value.exit_code == EXIT_USAGE
    return caught.value


def test_a_host_is_enough(tmp_path: Path) -> None:
    config = load(tmp_path, "[profiles.gpu]\nhost = 'gpu-box'\n")
    assert config == Config(str(tmp_path / "config.toml"), {"gpu": Profile("gpu", "gpu-box")})


def test_an_empty_jupyter_table_takes_the_defaults(tmp_path: Path) -> None:
    profile = load(tmp_path, SHORTEST_PROFILE).profiles["gpu"]
    assert profile == Profile("gpu", "gpu-box", jupyter=JupyterOptions())


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "[profiles]\n", "[defaults]\nhold = 1\n"])
def test_a_file_without_profiles_is_fine(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text).profiles == {}


def test_profiles_keep_the_order_of_the_file(tmp_path: Path) -> None:
    names = ["zeta", "alpha", "m.1", "0"]
    text = "".join(f'[profiles."{name}"]\nhost = "h"\n' for name in names)
    assert list(load(tmp_path, text).profiles) == names


FULL = """
[profiles.gpu]
host = "gpu-box"
user = 'CORP\\me'
port = 2222
identity_files = ["~/.ssh/id_a", "/keys/id_b"]
jump = "first, me@second:2222,[fe80::1]:22"
known_hosts = "~/.ssh/known_gpu"
ssh_config = "~/.ssh/config.d/gpu"
autostart = "on-demand"
tags = ["work", "gpu", "work"]
share = false
keepalive_interval = 2.5
keepalive_count = 1
hold = 0
waiting_page = false
forwards = [
  "6006:localhost:6006",
  { kind = "remote", listen = "9000", target = "localhost:9000" },
  { kind = "dynamic", listen = "1080", name = "socks" },
  { listen = "~/.run/pg.sock", target = "/var/run/postgresql/.s.PGSQL.5432" },
]
[profiles.gpu.jupyter]
local_port = "auto"
remote_port = 9999
directory = "~/work"
command = "/opt/lab/bin/jupyter lab --debug"
start = "never"
launcher = "nohup"
allow_root = true
"""


def test_every_key_arrives(tmp_path: Path) -> None:
    assert load(tmp_path, FULL).profiles["gpu"] == Profile(
        name="gpu",
        host="gpu-box",
        user="CORP\\me",
        port=2222,
        identity_files=("/home/me/.ssh/id_a", "/keys/id_b"),
        jump=("first", "me@second:2222", "[fe80::1]:22"),
        known_hosts=("/home/me/.ssh/known_gpu",),
        ssh_config="/home/me/.ssh/config.d/gpu",
        autostart="on-demand",
        tags=("work", "gpu"),
        share=False,
        keepalive_interval_s=2.5,
        keepalive_count=1,
        hold_s=0.0,
        waiting_page=False,
        forwards=(
            Forward("6006", "local", TcpAddress("", 6006), TcpAddress("localhost", 6006)),
            Forward("9000", "remote", TcpAddress("", 9000), TcpAddress("localhost", 9000)),
            Forward("socks", "dynamic", TcpAddress("", 1080), None),
            Forward(
                "pg.sock",
                "local",
                UnixAddress("/home/me/.run/pg.sock"),
                UnixAddress("/var/run/postgresql/.s.PGSQL.5432"),
            ),
        ),
        jupyter=JupyterOptions(
            local_port="auto",
            remote_port=9999,
            directory="~/work",
            command="/opt/lab/bin/jupyter lab --debug",
            listen="tcp",
            start="never",
            launcher="nohup",
            allow_root=True,
        ),
    )


def test_values_that_mean_the_same_are_equal(tmp_path: Path) -> None:
    spelled_out = """
    [defaults]
    hold = 300.0
    [profiles.gpu]
    host = "gpu-box"
    identity_files = ["/home/me/k"]
    keepalive_interval = 5
    jump = ["a", "b"]
    forwards = ["localhost:6006:localhost:6006"]
    """
    short = """
    [profiles.gpu]  # a comment
    identity_files = "~/k"
    host = "gpu-box"
    jump = "a,b"
    forwards = ["6006"]
    """
    assert load(tmp_path, spelled_out) == load(tmp_path, short)
    assert load(tmp_path, short) != load(tmp_path, short.replace("6006", "6007"))


def test_defaults_stand_behind_profiles(tmp_path: Path) -> None:
    text = """
    [defaults]
    user = "me"
    jump = "gate"
    tags = ["all"]
    hold = 7
    ssh_config = false
    [defaults.jupyter]
    directory = "~/work"
    listen = "socket"
    [profiles.a]
    host = "a"
    [profiles.b]
    host = "b"
    user = "you"
    jump = "none"
    tags = []
    hold = 300
    ssh_config = "~/.ssh/config"
    [profiles.b.jupyter]
    directory = "~"
    [profiles.c]
    host = "c"
    [profiles.c.jupyter]
    remote_port = 9999
    local_port = 8889
    """
    profiles = load(tmp_path, text).profiles
    assert profiles["a"] == Profile(
        "a", "a", user="me", jump=("gate",), tags=("all",), hold_s=7.0, ssh_config=False
    )
    assert profiles["b"] == Profile(
        "b",
        "b",
        user="you",
        jump=(),
        ssh_config="/home/me/.ssh/config",
        jupyter=JupyterOptions(directory="~", listen="socket"),
    )
    # A port given for this profile outweighs the socket that is everybody's default.
    assert profiles["c"].jupyter == JupyterOptions(
        local_port=8889, remote_port=9999, directory="~/work", listen="tcp"
    )


@pytest.mark.parametrize(
    ("text", "hops"),
    [
        ('"none"', ()),
        ('"None"', ()),
        ("[]", ()),
        ('"a"', ("a",)),
        ('"ssh://me@a:22/"', ("me@a:22",)),
        ('["a", "me@b:2222"]', ("a", "me@b:2222")),
        ('"::1"', None),
        ('""', None),
        ('"a,,b"', None),
        ('"a b"', None),
        ('"a:0"', None),
        ('"-oProxyCommand=x"', None),
        ('["none"]', None),
        ('["a,b"]', None),
        ('"@a"', None),
    ],
)
def test_jump_reads_as_proxyjump(tmp_path: Path, text: str, hops: tuple[str, ...] | None) -> None:
    text = f'[profiles.gpu]\nhost = "h"\njump = {text}\n'
    if hops is None:
        assert "profiles.gpu.jump" in refuse(tmp_path, text).message
    else:
        assert load(tmp_path, text).profiles["gpu"].jump == hops


@pytest.mark.parametrize(
    "host", ["gpu-box", "10.0.0.1", "::1", "fe80::1%eth0", "gpu.example.org", "büro", "a_b"]
)
def test_hosts(tmp_path: Path, host: str) -> None:
    assert load(tmp_path, f'[profiles.gpu]\nhost = "{host}"\n').profiles["gpu"].host == host


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "a b",
        "-oProxyCommand=x",
        "$(x)",
        "a;b",
        "a\\nb",
        "a/b",
        "[::1]",
        "@",
        ":1",
        "a:b",
        "::g",
        "fe80::1%$(x)",
    ],
)
def test_hosts_that_are_none(tmp_path: Path, host: str) -> None:
    assert "profiles.gpu.host" in refuse(tmp_path, f'[profiles.gpu]\nhost = "{host}"\n').message


def test_a_byte_order_mark_is_fine(tmp_path: Path) -> None:
    assert list(load(tmp_path, b"\xef\xbb\xbf" + SHORTEST_PROFILE.encode()).profiles) == ["gpu"]


def test_a_missing_file_says_what_to_write(tmp_path: Path) -> None:
    path = str(tmp_path / "config.toml")
    with pytest.raises(ConfigError) as caught:
        load_config(path, ENVIRON)
    assert caught.value.missing
    assert caught.value.message == f"there is no config file {path}"
    assert caught.value.advice == (
        "create it with this line, for the host you name in ssh: "
        'profiles.gpu = { host = "gpu-box", jupyter = {} }'
    )


def test_a_directory_and_a_pipe_are_no_config(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    for name, what in (("", "a directory"), ("pipe.toml", "not a regular file")):
        path = str(tmp_path / name) if name else str(tmp_path)
        with pytest.raises(ConfigError) as caught:
            load_config(path, ENVIRON)
        assert caught.value.message == f"{os.path.basename(path)}: is {what}"
        assert not caught.value.missing


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    loop = tmp_path / "config.toml"
    loop.symlink_to(loop)
    with pytest.raises(ConfigError) as caught:
        load_config(str(loop), ENVIRON)
    assert caught.value.message == "config.toml: cannot be read: too many levels of symbolic links"


def test_profiles_need_no_pydantic() -> None:
    program = "import sys, jtunnel.config.profile; print('pydantic' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert answer.stdout == "False\n"


def test_the_schema_shows_the_defaults_that_count() -> None:
    for table, values in ((ProfileTable, Profile), (JupyterTable, JupyterOptions)):
        real = {field.name.removesuffix("_s"): field.default for field in fields(values)}
        if values is JupyterOptions:
            real |= {field.name: field.default for field in fields(Environment)} | {"env": {}}
        for key, field in table.model_fields.items():
            shown = tuple(field.default) if isinstance(field.default, list) else field.default
            if field.is_required():
                assert real[key] is MISSING
            elif shown is None:
                assert real[key] in (None, ()), key
            else:
                assert shown == real[key], key


def test_environments(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        [defaults.jupyter]
        conda_env = "base"
        setup = "module load cuda"
        env = { A = "1", B = "2" }
        idle_stop = "1.5h"
        [profiles.a]
        host = "h"
        jupyter = { env = { B = "3", HOME_PAGE = "x y=z" }, idle_stop = 90 }
        [profiles.b]
        host = "h"
        jupyter = { venv = "~/venvs/my torch", local_port = 1, setup = [] }
        """,
    )
    first, second = config.profiles["a"].jupyter, config.profiles["b"].jupyter
    assert first is not None
    assert second is not None
    assert first.environment == Environment(
        conda_env="base",
        setup=("module load cuda",),
        variables=(("A", "1"), ("B", "3"), ("HOME_PAGE", "x y=z")),
    )
    assert (first.idle_stop_s, second.idle_stop_s) == (90, 5400)
    # Another environment than the usual one takes its place, whichever key names it.
    assert second.environment == Environment(venv="~/venvs/my torch", variables=(("A", "1"), ("B", "2")))


def test_services(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        [profiles.a]
        host = "h"
        service = { command = "tensorboard --port {port}", port = 6006, env = { A = "1" } }
        [profiles.b]
        host = "h"
        service = { command = "serve {socket}", ready = "/healthz" }
        [profiles.c]
        host = "h"
        service = { socket = "/run/x.sock", start = "never", page = "/x", local_port = 9000 }
        """,
    )
    a, b, c = (config.profiles[name].service for name in "abc")
    assert a == ServiceOptions(
        command="tensorboard --port {port}",
        port=6006,
        local_port=6006,
        environment=Environment(variables=(("A", "1"),)),
    )
    assert b == ServiceOptions(command="serve {socket}", ready="/healthz", page="/")
    assert c == ServiceOptions(socket="/run/x.sock", start="never", page="/x", local_port=9000)
    assert [config.profiles[name].has_pages for name in "abc"] == [False, True, True]


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    with open(path, "wb") as file:
        file.truncate(3_000_000_000)
    with pytest.raises(ConfigError) as caught:
        load_config(str(path), {})
    assert caught.value.message == "config.toml: is larger than 2 MiB"
