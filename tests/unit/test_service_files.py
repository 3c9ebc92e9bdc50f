"""The files that service managers get: filled in for awkward paths, and held against what those take."""

from __future__ import annotations

import os
import plistlib
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jtunnel.client import login_service
from jtunnel.commands.service.launchd import Launchd
from jtunnel.commands.service.systemd import Systemd, is_booted
from jtunnel.errors import ControlError
from tests.support.programs import find_program

AWKWARD = "a b $HOME ${x} %h %% é;#<&>"
#: launchd.plist(5): the keys that this agent may have, and their types.
KEYS: Mapping[str, type] = {
    "Label": str,
    "ProgramArguments": list,
    "EnvironmentVariables": dict,
    "RunAtLoad": bool,
    "KeepAlive": dict,
    "ThrottleInterval": int,
    "ProcessType": str,
    "ExitTimeOut": int,
    "StandardOutPath": str,
    "StandardErrorPath": str,
}
KEEP_ALIVE: Mapping[str, type] = {"SuccessfulExit": bool}
PROCESS_TYPES = {"Background", "Standard", "Adaptive", "Interactive"}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    return {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(runtime)}


@pytest.fixture
def program(tmp_path: Path) -> str:
    """A program whose path has all that could be taken for something else."""
    directory = tmp_path / AWKWARD
    directory.mkdir()
    path = directory / "jtunneld"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def unit_of(environ: Mapping[str, str], program: str) -> str:
    find_program("systemctl")
    return Systemd(environ).content(program)


def settings(unit: str, name: str) -> list[str]:
    return [line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{name}=")]


def test_systemd_has_nothing_to_say_against_the_unit(
    environ: dict[str, str], program: str, tmp_path: Path
) -> None:
    find_program("systemd-analyze")
    environ |= {"JTUNNEL_CONFIG": f"/{AWKWARD}/\\\"'.toml", "JTUNNEL_STATE_DIR": "/x", "XDG_STATE_HOME": "/y"}
    unit = tmp_path / "jtunneld.service"
    for text, fine in ((unit_of(environ, program), True), ("[Service]\nExecStart=/bin/true\nNo=1\n", False)):
        unit.write_text(text)
        verified = subprocess.run(
            ["systemd-analyze", "--user", "verify", str(unit)], env=environ, capture_output=True, text=True
        )
        # It exits with 0 over a key that it does not know.
        assert (verified.stderr == "") == fine, verified.stderr
        assert verified.returncode == 0 or not fine


def test_the_unit_says_what_is_to_be_true_of_it(environ: dict[str, str], program: str) -> None:
    unit = unit_of(environ, program)
    assert settings(unit, "Type") == ["notify"]
    assert int(settings(unit, "WatchdogSec")[0]) >= 60
    assert settings(unit, "Restart") == ["on-failure"]
    # Without steps as well, a crash loop never ends in giving up.
    assert settings(unit, "StartLimitIntervalSec") == ["0"]
    assert settings(unit, "WantedBy") == ["default.target"]
    assert settings(unit, "NoNewPrivileges") == ["yes"]
    assert "AF_NETLINK" in settings(unit, "RestrictAddressFamilies")[0]
    assert settings(unit, "Environment") == ["JTUNNEL_SERVICE=systemd"]
    assert not settings(unit, "PrivateUsers") + settings(unit, "ProtectSystem")
    assert "@" not in unit.replace("stands between @ signs", "").replace("@system-service", "")


def test_directories_of_whoever_installs_go_into_the_unit(environ: dict[str, str], program: str) -> None:
    environ |= {
        "JTUNNEL_CONFIG": "relative.toml",
        "JTUNNEL_RUNTIME_DIR": "/run/a b/100%",
        "XDG_CONFIG_HOME": "/else/where",
        # What it is anyway.
        "XDG_STATE_HOME": f"{environ['HOME']}/.local/state",
    }
    quoted = settings(unit_of(environ, program), "Environment")[1:]
    assert [shlex.split(line.replace("%%", "%")) for line in quoted] == [
        [f"JTUNNEL_CONFIG={os.getcwd()}/relative.toml"],
        ["JTUNNEL_RUNTIME_DIR=/run/a b/100%"],
        ["XDG_CONFIG_HOME=/else/where"],
    ]


def test_whether_systemd_runs_is_a_directory(tmp_path: Path) -> None:
    assert is_booted(str(tmp_path))
    assert not is_booted(str(tmp_path / "systemd"))


def test_a_path_that_systemd_does_not_take(environ: dict[str, str]) -> None:
    for character in "'\"\\\n":
        with pytest.raises(ControlError, match="systemd starts no program whose path has a"):
            unit_of(environ, f"/opt/x{character}y/jtunneld")


def test_the_service_is_for_the_same_directories_only(environ: dict[str, str], program: str) -> None:
    if sys.platform == "darwin":
        pytest.skip("the unit is Linux's")
    environ["JTUNNEL_CONFIG"] = "/a b/%c.toml"
    assert not login_service.serves(environ)
    path = login_service.unit_files(environ)[0]
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as file:
        file.write(unit_of(environ, program))
    assert login_service.serves(environ)
    assert not login_service.serves(environ | {"JTUNNEL_STATE_DIR": "/other"})
    assert not login_service.serves(environ | {"JTUNNEL_CONFIG": "/a b/c.toml"})
    del environ["JTUNNEL_CONFIG"]
    assert not login_service.serves(environ)


# The agent; launchd itself is not here to be asked.


class StandInLaunchctl:
    """A `launchctl` on PATH that knows one agent: loaded or not, running or not."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._state, self._calls = directory / "pid", directory / "calls"
        script = directory / "launchctl"
        script.write_text(
            f"""#!/bin/sh
echo "$1 $2" >>{self._calls}
case "$1" in
print) case "$2" in
    */jtunnel.jtunneld) [ -e {self._state} ] && printf '\\tpid = %s\\n' "$(cat {self._state})" ;;
    esac ;;
bootout) rm {self._state} ;;
bootstrap) [ -e "$3" ] && echo 41 >{self._state} ;;
kickstart) echo 42 >{self._state} ;;
print-disabled) printf '\\t"jtunnel.jtunneld" => %s\\n' "$(cat {directory}/disabled 2>/dev/null)" ;;
esac
"""
        )
        script.chmod(0o755)
        self.path = str(directory)

    def calls(self) -> list[str]:
        """What changed something, in order, since the last look."""
        calls = self._calls.read_text().splitlines()
        self._calls.unlink()
        return [call.split()[0] for call in calls if not call.startswith("print")]


@pytest.fixture
def launchctl(environ: dict[str, str], tmp_path: Path) -> StandInLaunchctl:
    made = StandInLaunchctl(tmp_path / "bin")
    environ["PATH"] = f"{made.path}:{environ['PATH']}"
    environ["JTUNNEL_STATE_DIR"] = str(tmp_path / AWKWARD / "state")
    return made


def agent_of(environ: Mapping[str, str], program: str) -> dict[str, Any]:
    agent = plistlib.loads(Launchd(environ).content(program).encode())
    assert isinstance(agent, dict)
    return agent


def test_each_field_of_the_agent_is_one_that_launchd_knows(
    environ: dict[str, str], program: str, launchctl: StandInLaunchctl
) -> None:
    agent = agent_of(environ, program)
    assert {key: type(value) for key, value in agent.items()} == KEYS
    assert {key: type(value) for key, value in agent["KeepAlive"].items()} == KEEP_ALIVE
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["RunAtLoad"] is True
    assert agent["ThrottleInterval"] == 10
    assert agent["ProcessType"] in PROCESS_TYPES
    assert agent["ProcessType"] != "Background"
    assert agent["Label"] == login_service.LABEL
    assert Launchd(environ).file.endswith(f"/Library/LaunchAgents/{agent['Label']}.plist")


def test_the_agent_is_filled_in_with_whole_paths(
    environ: dict[str, str], program: str, launchctl: StandInLaunchctl
) -> None:
    environ["XDG_CONFIG_HOME"] = "/else/where"
    agent = agent_of(environ, program)
    assert agent["ProgramArguments"] == [program]
    variables = agent["EnvironmentVariables"]
    assert variables["JTUNNEL_SERVICE"] == "launchd"
    assert variables["JTUNNEL_STATE_DIR"] == environ["JTUNNEL_STATE_DIR"]
    assert variables["XDG_CONFIG_HOME"] == "/else/where"
    assert all(isinstance(value, str) for value in variables.values())
    for key in ("StandardOutPath", "StandardErrorPath"):
        # launchd expands neither ~ nor variables.
        assert agent[key] == f"{environ['JTUNNEL_STATE_DIR']}/launchd.log"
    assert "@" not in Launchd(environ).content(program)


def test_the_agent_is_loaded_started_and_taken_out(
    environ: dict[str, str], program: str, launchctl: StandInLaunchctl
) -> None:
    service = Launchd(environ)
    assert service.reachable
    assert service.pid() is None
    os.makedirs(os.path.dirname(service.file))
    Path(service.file).write_text(service.content(program))
    launchctl.calls()
    service.load()
    service.restart()
    assert (launchctl.calls(), service.pid()) == (["bootstrap"], 41)
    service.restart()
    assert (launchctl.calls(), service.pid()) == (["kickstart"], 42)
    # A changed file is read only by loading it anew.
    service.load()
    service.restart()
    assert (launchctl.calls(), service.pid()) == (["bootout", "bootstrap"], 41)
    service.enable()
    assert service.is_enabled()
    Path(launchctl.path, "disabled").write_text("disabled")
    assert not service.is_enabled()
    launchctl.calls()
    service.remove()
    assert launchctl.calls() == ["bootout"]
    assert not os.path.exists(service.file)
    assert not service.is_enabled()
