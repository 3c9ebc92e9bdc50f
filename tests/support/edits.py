"""A config of three profiles, and the commands that change it, run in this process. Starts nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import pytest

from jtunnel.client.cli import main
from jtunnel.status import StatusDocument, TunnelStatus
from tests.support.scripted_daemon import ScriptedDaemon, document
from tests.support.thin_client import Client

START: Final = """\
# The big one.
[profiles.gpu]
host = "gpu-box"        # here

[profiles.gpu-2]
host = "gpu-box-2"
autostart = true        # always

[profiles.db]
host = "db"
forwards = ["5432"]
"""
RELOADED: Final[Mapping[str, list[str]]] = {"added": [], "removed": [], "changed": [], "unchanged": []}
#: What the first profile has.
GPU: Final = 'host = "gpu-box"        # here\n'


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


class Runner:
    """Runs commands with a client's environment, without the time that starting a process takes."""

    def __init__(
        self, client: Client, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        self._environ = client.environ
        self._set = monkeypatch.setenv
        self._capfd = capfd
        monkeypatch.delenv("VISUAL", raising=False)

    def __call__(self, *words: str) -> Ended:
        """Run one command line."""
        for name, value in self._environ.items():
            self._set(name, value)
        self._capfd.readouterr()
        return Ended(main(list(words)), *self._capfd.readouterr())


def write(client: Client, text: str) -> None:
    """Write the config."""
    with open(client.config_file, "w") as file:
        file.write(text)


def config(client: Client) -> str:
    """The config as it is now."""
    with open(client.config_file, newline="") as file:
        return file.read()


def files(client: Client) -> list[str]:
    """What stands in the config's directory."""
    return sorted(os.listdir(os.path.dirname(client.config_file)))


def daemon_with(client: Client, *tunnels: TunnelStatus, **answers: Any) -> ScriptedDaemon:
    """A daemon that uses the client's config."""
    status: StatusDocument = document(*tunnels)
    status["daemon"]["config_path"] = client.config_file
    return ScriptedDaemon(client.runtime_dir, {"status": status, "reload": RELOADED, **answers})
