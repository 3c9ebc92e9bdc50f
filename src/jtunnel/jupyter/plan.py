"""How a Jupyter server is to be started: program, arguments, socket or port. Pure.

Overrides what a user's own config may say about addresses, ports and TLS; the rest of it stays in force.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ServerError
from jtunnel.jupyter.pings import ping_options
from jtunnel.jupyter.script import file_name
from jtunnel.jupyter.server import UserInterface
from jtunnel.jupyter.survey import LOOPBACK

DEFAULT_COMMAND: Final = JupyterOptions().command
#: Names to look for besides `jupyter` where no command is configured: uv and pipx install only these.
OTHER_PROGRAMS: Final = ("jupyter-lab", "jupyter-notebook", "jupyter-server")
#: Ports that no kernel hands out by itself (Linux begins at 32768, macOS at 49152).
_PORTS: Final = range(20000, 32000)


@dataclass(frozen=True, slots=True)
class Ground:
    """What the remote offers for a start.

    `versions` maps distribution names → versions, and is empty where they are unknown.
    `environment_name` is the file that may hold a login shell's environment. `socket_dir` is None where
    the node has no safe place for sockets. `names` is what else the node is called. `has_tornado_settings`:
    a config file of Jupyter's sets them.
    """

    node: str
    uid: int
    log: str
    program: str
    interpreter: str
    versions: Mapping[str, str]
    environment_name: str
    root_dir: str
    socket_dir: str | None
    sockets_refused: bool
    ports: Collection[int]
    names: tuple[str, ...] = ()
    has_tornado_settings: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """One start: the words of the command, where it will listen, and how it learns its token."""

    arguments: tuple[str, ...]
    target: Address
    user_interface: UserInterface
    token_name: str


def make_plan(ground: Ground, options: JupyterOptions, key: str) -> Plan:
    """Decide how to start the server.

    Raises ServerError: `jupyter-missing` where the found program brings no Jupyter, `jupyter-failed`
    where the options cannot be met (root, a socket).
    """
    if ground.uid == 0 and not options.allow_root:
        raise ServerError(
            "jupyter-failed",
            f"the login on {ground.node} is root, and Jupyter does not run as root unasked",
            f"log in as another user, or set allow_root = true in [profiles.{key}.jupyter]",
        )
    words = _command(ground, options, key)
    interface = interface_of(words)
    trait = trait_prefix(interface, ground.versions)
    target = _target(ground, options, key, interface, trait)
    return Plan(
        arguments=(
            *words,
            *_overrides(trait, target, ground.root_dir),
            *ping_options(trait, words, has_own=ground.has_tornado_settings),
            *(["--allow-root"] if ground.uid == 0 else []),
        ),
        target=target,
        user_interface=interface,
        token_name=_token_name(ground.versions, trait),
    )


def interface_of(words: tuple[str, ...]) -> UserInterface:
    """Which pages a command brings, as far as its words tell."""
    for word in words:
        name = word.rpartition("/")[2].removeprefix("jupyter-")
        if name in ("lab", "jupyterlab"):
            return "lab"
        if name in ("notebook", "nbclassic"):
            return "tree"
        if name in ("server", "jupyter_server"):
            return ""
    return "lab"


def trait_prefix(interface: UserInterface, versions: Mapping[str, str]) -> str:
    """The name that options go by: notebook <= 6 and lab <= 2 have their own."""
    package, first = {"lab": ("jupyterlab", 3), "tree": ("notebook", 7), "": ("jupyter_server", 1)}[interface]
    return "NotebookApp" if package in versions and release(versions[package]) < (first,) else "ServerApp"


def release(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: `1.24.0rc1` is (1, 24)."""
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _command(ground: Ground, options: JupyterOptions, key: str) -> tuple[str, ...]:
    """The configured command with its program found; `jupyter lab` stands for whatever Jupyter there is."""
    words = split_command(options, key)
    if options.command != DEFAULT_COMMAND:
        return (ground.program, *words[1:])
    if ground.program.rpartition("/")[2] != "jupyter":
        return (ground.program,)
    if not ground.versions or "jupyterlab" in ground.versions:
        return (ground.program, "lab")
    return (ground.program, "notebook" if "notebook" in ground.versions else "server")


def split_command(options: JupyterOptions, key: str) -> list[str]:
    """The words of the configured command. Raises ServerError `jupyter-missing` where it has none."""
    try:
        words = shlex.split(options.command)
    except ValueError:
        words = []
    if not words:
        raise ServerError(
            "jupyter-missing",
            f"{options.command!r} is not a command",
            f'set command, like "jupyter lab", in [profiles.{key}.jupyter]',
        )
    return words


def _target(
    ground: Ground, options: JupyterOptions, key: str, interface: UserInterface, trait: str
) -> Address:
    if options.remote_port is not None:
        return TcpAddress(LOOPBACK, options.remote_port)
    able = _can_listen_on_socket(ground.versions, trait)
    if options.listen == "socket" and able is False:
        raise ServerError(
            "jupyter-failed",
            f"the Jupyter on {ground.node} is too old to listen on a Unix socket",
            f'set listen = "tcp" in [profiles.{key}.jupyter], or install jupyter_server 1.9 or newer',
        )
    if options.listen == "socket" and ground.socket_dir is None:
        raise ServerError(
            "jupyter-failed",
            f"{ground.node} has no safe directory for a socket: /tmp/jtunnel-{ground.uid} is not yours alone",
            f'remove it, or set listen = "tcp" in [profiles.{key}.jupyter]',
        )
    wanted = options.listen == "socket" or (options.listen == "auto" and able and not ground.sockets_refused)
    if wanted and ground.socket_dir is not None:
        # A new name each time: an earlier server may still listen under the old one.
        return UnixAddress(f"{ground.socket_dir}/jupyter-{file_name(key)}-{secrets.token_hex(3)}.sock")
    return TcpAddress(LOOPBACK, secrets.choice([port for port in _PORTS if port not in ground.ports]))


def _can_listen_on_socket(versions: Mapping[str, str], trait: str) -> bool | None:
    """jupyter_server has it from 1.9, classic notebook from 6.1 (facts/jupyter.md §2.5); None: not known."""
    package, first = ("jupyter_server", (1, 9)) if trait == "ServerApp" else ("notebook", (6, 1))
    return release(versions[package]) >= first if package in versions else None


def _token_name(versions: Mapping[str, str], trait: str) -> str:
    """The variable for the token: a file's name where that is understood, for kernels inherit it."""
    package, first = ("jupyter_server", (1, 6, 2)) if trait == "ServerApp" else ("notebook", (6, 1))
    old = package in versions and release(versions[package]) < first
    return "JUPYTER_TOKEN" if old else "JUPYTER_TOKEN_FILE"


def _overrides(trait: str, target: Address, root_dir: str) -> list[str]:
    """Options that must hold whatever the user's config says; an empty value switches a thing off."""
    values = {"ip": LOOPBACK, "port_retries": "0", "certfile": "", "keyfile": "", "client_ca": ""}
    values["root_dir" if trait == "ServerApp" else "notebook_dir"] = root_dir
    if isinstance(target, UnixAddress):
        # Any other port than Jupyter's default, from a config file too, makes it refuse the socket.
        values |= {"sock": target.path, "sock_mode": "0600", "port": "8888"}
    else:
        values |= {"sock": "", "port": str(target.port)}
    return ["--no-browser", *(f"--{trait}.{name}={value}" for name, value in values.items())]
