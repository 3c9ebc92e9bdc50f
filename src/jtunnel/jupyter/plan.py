"""How a Jupyter server is to be started: program, arguments, socket or port. Pure.

Overrides what a user's own config may say about addresses, ports and TLS; the rest of it stays in force.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Final

from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ServerError
from jtunnel.jupyter.idle import idle_options
from jtunnel.jupyter.pings import ping_options
from jtunnel.service.ground import Ground
from jtunnel.service.prepare import Request
from jtunnel.service.server import UserInterface
from jtunnel.service.service import Plan
from jtunnel.service.survey import LOOPBACK

DEFAULT_COMMAND: Final = JupyterOptions().command
#: Names to look for besides `jupyter` where no command is configured: uv and pipx install only these.
OTHER_PROGRAMS: Final = ("jupyter-lab", "jupyter-notebook", "jupyter-server")
#: Distributions that bring a Jupyter, the best first; each is a module that `python -m` runs, too.
DISTRIBUTIONS: Final = ("jupyterlab", "notebook", "jupyter_server")


def make_request(options: JupyterOptions, key: str) -> Request:
    """What is to be looked for. Raises ServerError `jupyter-missing` where the command has no words."""
    return Request(
        program=split_command(options, key)[0],
        others=OTHER_PROGRAMS if options.command == DEFAULT_COMMAND else (),
        directory=options.directory,
        port=options.remote_port,
        environment=options.environment,
        table=f"[profiles.{key}.jupyter]",
        distributions=DISTRIBUTIONS,
        noun="Jupyter",
        package="jupyterlab",
        kind="jupyter",
    )


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
    words = command_words(ground, options, key)
    interface = interface_of(words)
    trait = trait_prefix(interface, ground.versions)
    target = _target(ground, options, key, interface, trait)
    return Plan(
        arguments=(
            *words,
            *_overrides(trait, target, ground.root_dir),
            *ping_options(trait, words, has_own=ground.has_tornado_settings),
            *idle_options(trait, options.idle_stop_s),
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


def command_words(ground: Ground, options: JupyterOptions, key: str) -> tuple[str, ...]:
    """The configured command with its program found; `jupyter lab` stands for whatever Jupyter there is."""
    words = split_command(options, key)
    if options.command != DEFAULT_COMMAND:
        return (ground.program, *words[1:])
    if ground.program == ground.interpreter:
        return _module_words(ground)
    if ground.program.rpartition("/")[2] != "jupyter":
        return (ground.program,)
    if not ground.versions or "jupyterlab" in ground.versions:
        return (ground.program, "lab")
    return (ground.program, "notebook" if "notebook" in ground.versions else "server")


def _module_words(ground: Ground) -> tuple[str, ...]:
    """The Python of a chosen environment with the best of what it can run."""
    module = next((name for name in DISTRIBUTIONS if name in ground.versions), DISTRIBUTIONS[0])
    # Else files in the server's directory would stand for modules of the same name (since Python 3.11).
    safe = ["-P"] if release(ground.versions.get("python", "")) >= (3, 11) else []
    return (ground.program, *safe, "-m", module)


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
    wanted = options.listen == "socket" or (options.listen == "auto" and able and not ground.sockets_refused)
    if wanted and (ground.socket_dir is not None or options.listen == "socket"):
        return ground.new_socket(f"[profiles.{key}.jupyter]", key)
    return ground.free_port()


def _can_listen_on_socket(versions: Mapping[str, str], trait: str) -> bool | None:
    """jupyter_server has it from 1.9, classic notebook from 6.1; None: not known."""
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
