"""Which file a service manager is to start: the installed `jtunneld` that stays where it is through upgrades.

Knows pip, pipx and uv; installs nothing.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata

from jtunnel import paths
from jtunnel.errors import ControlError

_NAME = "jtunneld"
_ADVICE = "install it to stay: pipx install jtunnel, or: uv tool install jtunnel"


def find_daemon(environ: Mapping[str, str], called_as: str) -> str:
    """The absolute path to start at login; `called_as` is how this very command was called.

    pipx and uv put a link to it where commands are looked for, which outlives every rebuild of their
    environments. Raises ControlError where this jtunnel is not there to stay.
    """
    if cache := _cache_around(sys.prefix):
        raise ControlError(
            "daemon-failed",
            f"this jtunnel is in a cache, {cache}, and may be gone at the next login",
            _ADVICE,
        )
    own = next((path for path in _own_scripts(called_as) if os.access(path, os.X_OK)), None)
    if own is None:
        raise ControlError("daemon-failed", f"there is no {_NAME} beside this jtunnel", _ADVICE)
    for directory in _link_directories(environ, called_as):
        link = os.path.join(directory, _NAME)
        if os.path.islink(link) and os.path.realpath(link) == os.path.realpath(own):
            return link
    return own


def is_temporary(path: str) -> bool:
    """Whether the system clears the place of this file away by itself."""
    roots = {"/tmp", "/var/tmp", os.path.realpath(tempfile.gettempdir())}  # noqa: S108  (only compared)
    return any(_is_below(os.path.realpath(path), root) for root in roots)


def _own_scripts(called_as: str) -> Iterator[str]:
    """Where the installer of this package may have put the command, the surest first."""
    try:
        files = metadata.distribution("jtunnel").files or []
    except metadata.PackageNotFoundError:
        files = []
    yield from (os.path.abspath(str(file.locate())) for file in files if file.name == _NAME)
    yield os.path.join(sysconfig.get_path("scripts"), _NAME)
    yield os.path.join(os.path.dirname(os.path.abspath(called_as)), _NAME)


def _link_directories(environ: Mapping[str, str], called_as: str) -> Iterator[str]:
    yield os.path.dirname(os.path.abspath(called_as))
    for tool, variables in (
        ("pipx_metadata.json", ("PIPX_BIN_DIR",)),
        ("uv-receipt.toml", ("UV_TOOL_BIN_DIR", "XDG_BIN_HOME")),
    ):
        if os.path.exists(os.path.join(sys.prefix, tool)):
            yield from (os.path.abspath(environ[name]) for name in variables if environ.get(name))
            yield os.path.join(paths.home(environ), ".local", "bin")


def _cache_around(directory: str) -> str | None:
    """The cache directory that holds this one: `uvx` and `pipx run` make environments for one use there."""
    while (parent := os.path.dirname(directory)) != directory:
        is_pipx = os.path.basename(parent) == ".cache" and os.path.basename(os.path.dirname(parent)) == "pipx"
        if is_pipx or os.path.exists(os.path.join(parent, "CACHEDIR.TAG")):
            return parent
        directory = parent
    return None


def _is_below(path: str, root: str) -> bool:
    return path.startswith(root.rstrip("/") + "/")
