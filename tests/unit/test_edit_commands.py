"""`edit`, `enable`, `disable`, `rename` and `rm`, with and without a scripted daemon."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from jtunnel.client.login_service import environment_lines, overrides, unit_files
from jtunnel.commands.profiles import disable, enable, remove, rename
from jtunnel.commands.renaming import find_wanted
from jtunnel.daemon.wanted import Wanted
from jtunnel.errors import ConfigError, ControlError, JTunnelError
from jtunnel.machine.boot import read_boot
from jtunnel.telling.history import History
from jtunnel.tunnel.transition import Transition
from tests.support.edits import GPU, START, Runner, config, daemon_with, files, write
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, tunnel
from tests.support.thin_client import Client


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        write(client, START)
        yield client


@pytest.fixture
def run(client: Client, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Runner:
    return Runner(client, monkeypatch, capfd)


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_enable(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert enable(client.environ, names=["gpu*"], on_demand=False, now=False) == 0
    assert config(client) == START.replace(GPU, GPU + "autostart = true\n")
    assert said(capsys) == [
        "gpu    comes up when the daemon starts",
        "gpu-2  already comes up when the daemon starts",
    ]
    assert enable(client.environ, names=["gpu-2"], on_demand=True, now=False) == 0
    assert 'autostart = "on-demand"        # always\n' in config(client)
    assert said(capsys) == ["gpu-2  connects at its first use"]


def test_enable_says_what_stands_in_its_way(client: Client, run: Runner) -> None:
    no_service = "jtunnel: nothing starts the daemon at login; have it started: jtunnel service install"
    find_wanted(client.environ).note(["gpu", "db"], up=False)
    find_wanted(client.environ).note(["db"], up=True)
    assert run("enable", "gpu", "db").stderr.splitlines() == [
        no_service,
        "jtunnel: gpu was taken down by hand, and is left so until the next boot, or: jtunnel up gpu",
    ]
    for unit in unit_files(client.environ):
        os.makedirs(os.path.dirname(unit), exist_ok=True)
        with open(unit, "w") as file:
            file.write("\n".join(environment_lines(overrides(client.environ))))
    assert run("enable", "gpu-2").stderr == ""
    assert run("disable", "*").stderr == ""


def test_disable(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert disable(client.environ, names=["gpu", "gpu-2"], now=False) == 0
    assert config(client) == START.replace("autostart = true ", "autostart = false ")
    assert said(capsys) == ["gpu    already comes up only when asked", "gpu-2  comes up only when asked"]
    before = os.stat(client.config_file)
    assert disable(client.environ, names=["gpu-2"], now=True) == 0
    assert os.stat(client.config_file) == before


def test_defaults_count(client: Client) -> None:
    write(client, START + "\n[defaults]\nautostart = true\n")
    before = config(client)
    enable(client.environ, names=["*"], on_demand=False, now=False)
    assert config(client) == before
    disable(client.environ, names=["gpu"], now=False)
    assert config(client) == before.replace(GPU, GPU + "autostart = false\n")


def test_a_daemon_reads_what_was_written_and_only_then(client: Client) -> None:
    with daemon_with(client) as daemon:
        disable(client.environ, names=["gpu"], now=False)
        assert daemon.calls == []
        enable(client.environ, names=["gpu"], on_demand=False, now=False)
        assert daemon.calls == [("status", {}), ("reload", {})]


def test_now(client: Client) -> None:
    taken = {"names": ["gpu"]}
    with daemon_with(client, down=taken) as daemon:
        assert disable(client.environ, names=["g*u"], now=True) == 0
        assert daemon.calls == [("down", {"names": ["gpu"], "tags": [], "all": False})]

    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        talk.snapshot(document(tunnel("gpu")))

    with daemon_with(client, tunnel("gpu"), up=taken, watch=watch) as daemon:
        assert enable(client.environ, names=["gpu"], on_demand=True, now=True) == 0
        assert [method for method, _ in daemon.calls[:2]] == ["status", "reload"]
        assert "up" in [method for method, _ in daemon.calls]


def test_another_config_s_daemon_is_left_alone(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedDaemon(client.runtime_dir, {"status": document(tunnel())}) as daemon:
        enable(client.environ, names=["gpu"], on_demand=False, now=False)
        assert daemon.calls == [("status", {})]
    used = document()["daemon"]["config_path"]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"jtunnel: the daemon that runs uses another config, {used}"


@pytest.mark.parametrize(
    ("name", "advice"), [("gpx", "did you mean gpu?"), ("x*", "there are: gpu, gpu-2, db")]
)
def test_an_unknown_name_changes_nothing(client: Client, name: str, advice: str) -> None:
    with pytest.raises(ConfigError) as raised:
        enable(client.environ, names=["gpu", name], on_demand=False, now=False)
    assert (raised.value.kind, raised.value.advice) == ("unknown-profile", advice)
    assert config(client) == START
    assert files(client) == ["config.toml"]


def test_rm(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    with daemon_with(client, tunnel("gpu"), tunnel("gpu-2", "down")) as daemon:
        assert remove(client.environ, names=["gpu*"]) == 0
        assert daemon.calls == [("status", {}), ("reload", {})]
    assert config(client) == '[profiles.db]\nhost = "db"\nforwards = ["5432"]\n'
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "gpu    removed, and its tunnel taken down; Jupyter and its kernels live on",
        "gpu-2  removed",
    ]
    assert shown.err == f"jtunnel: the config as it was before is kept in {client.config_file}~\n"
    with open(client.config_file + "~") as backup:
        assert backup.read() == START


def test_a_daemon_hears_of_a_new_name_before_it_reads_it(client: Client) -> None:
    seen: list[str] = []

    def note(talk: Talk, params: dict[str, Any]) -> None:
        seen.append(config(client))
        talk.reply({})

    with daemon_with(client, tunnel("gpu"), rename=note) as daemon:
        assert rename(client.environ, name="gpu", to="big.one") == 0
        calls = [("status", {}), ("rename", {"name": "gpu", "to": "big.one"}), ("reload", {})]
        assert daemon.calls == calls
    assert seen == [START]
    assert config(client) == START.replace("[profiles.gpu]", '[profiles."big.one"]')


def test_nothing_is_renamed_that_the_daemon_refuses(client: Client) -> None:
    no = ControlError("daemon-failed", "no", "")
    with daemon_with(client, tunnel("gpu"), rename=no), pytest.raises(Exception, match="no"):
        rename(client.environ, name="gpu", to="big")
    assert config(client) == START


def test_without_a_daemon_its_files_are_renamed(client: Client) -> None:
    ports, wanted, record = (
        os.path.join(client.state_dir, name) for name in ("ports.json", "wanted.json", "history.jsonl")
    )
    with open(ports, "w") as file:
        json.dump({"gpu": 4711, "db": 4712}, file)
    Wanted(wanted, read_boot()).note(["gpu"], up=True)
    history = History(record)
    lost = JTunnelError("connection-lost", "cut", "")
    for old, new in (("down", "up"), ("up", "retrying"), ("retrying", "up")):
        error = lost if new == "retrying" else None
        history.note(Transition("gpu", old, new, error, datetime.now(UTC)))  # type: ignore[arg-type]
    history.close()
    assert rename(client.environ, name="gpu", to="big") == 0
    with open(ports) as file:
        assert json.load(file) == {"big": 4711, "db": 4712}
    assert (Wanted(wanted, read_boot()).get("big"), Wanted(wanted, read_boot()).get("gpu")) == (True, None)
    history = History(record)
    assert [len(past["outages"]) for past in history.show(["big", "gpu"])["tunnels"]] == [1, 0]
    history.close()


@pytest.mark.parametrize(
    ("name", "to", "kind", "message"),
    [
        ("gpu", "db", "usage", "there is a profile db already"),
        ("gpu", "a b", "usage", "'a b' is not a profile's name"),
        ("nope", "big", "unknown-profile", "no profile 'nope'"),
    ],
)
def test_a_name_that_cannot_be_given(client: Client, name: str, to: str, kind: str, message: str) -> None:
    with daemon_with(client, tunnel("gpu")) as daemon:
        with pytest.raises(ConfigError, match=message) as raised:
            rename(client.environ, name=name, to=to)
        assert daemon.calls == [("status", {})]
    assert raised.value.kind == kind
    assert config(client) == START


# jtunnel edit


def editor(client: Client, script: str) -> None:
    """Let $EDITOR be a program that does this to the file "$1"."""
    path = os.path.join(client.path, "my editor")
    with open(path, "w") as file:
        file.write(f"#!/bin/sh\n{script}\n")
    os.chmod(path, 0o700)
    # With an argument and a space in its name, as `code --wait` may have.
    client.environ["EDITOR"] = f"'{path}' --wait"


EDITED = 'shift; echo "# more" >>"$1"; sed -i s/gpu-box-2/other/ "$1"'


def test_an_edit_takes_its_place(client: Client) -> None:
    editor(client, EDITED)
    with daemon_with(client) as daemon:
        ended = client.run("edit")
        assert daemon.calls == [("status", {}), ("reload", {})]
    assert (ended.returncode, ended.stdout) == (0, "changed: gpu-2\n")
    path = client.config_file
    assert ended.stderr == f"jtunnel: wrote {path}; as it was before, it is kept in {path}~\n"
    assert config(client) == START.replace("gpu-box-2", "other") + "# more\n"
    assert files(client) == ["config.toml", "config.toml~"]


def test_visual_comes_first_and_the_copy_is_private_toml(client: Client, run: Runner) -> None:
    client.environ["VISUAL"] = f"stat -c '%a %n' >{client.path}/seen"
    editor(client, "exit 1")
    assert run("edit").returncode == 0
    with open(os.path.join(client.path, "seen")) as file:
        mode, name = file.read().split()
    assert (mode, os.path.dirname(name), name[-5:]) == ("600", os.path.dirname(client.config_file), ".toml")


def test_no_change_is_said(client: Client, run: Runner) -> None:
    editor(client, "exit 0")
    ended = run("edit")
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr.startswith(
        "jtunnel: nothing was changed (an editor that opens a window of its own has to wait: "
    )
    assert files(client) == ["config.toml"]


def test_a_config_that_was_wrong_and_is_not_changed_still_is(client: Client, run: Runner) -> None:
    write(client, START + "oops\n")
    editor(client, "exit 0")
    ended = run("edit")
    assert (ended.returncode, ended.stdout) == (2, "")
    nothing, still, mistake = ended.stderr.splitlines()
    assert nothing.startswith("jtunnel: nothing was changed")
    assert still == "jtunnel: the config is not right yet:"
    assert "not valid TOML" in mistake


def test_a_first_config_is_begun_with_a_few_words(client: Client, run: Runner) -> None:
    os.unlink(client.config_file)
    editor(client, "exit 0")
    assert run("edit").returncode == 0
    assert files(client) == []
    editor(client, """shift; sed -i 's/^# \\[/[/; s/^# host/host/' "$1" """)
    ended = run("edit")
    assert (ended.returncode, ended.stdout) == (0, "added: gpu\n")
    assert '\n[profiles.gpu]\nhost = "gpu-box" ' in config(client)
    assert files(client) == ["config.toml"]


def kept_copy(client: Client) -> str:
    """The copy that is left, with a name of its own."""
    (name,) = [name for name in files(client) if ".edit-" in name]
    return os.path.join(os.path.dirname(client.config_file), name)


BROKEN = 'shift; echo "hots = 1" >>"$1"'


def test_a_broken_edit_is_shown_and_kept(client: Client) -> None:
    editor(client, BROKEN)
    ended = client.run("edit")
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        'config.toml: profiles.db.hots: unknown key; did you mean "host"?',
        f"jtunnel: what you have typed is kept in {kept_copy(client)}",
    ]
    assert config(client) == START
    with open(kept_copy(client)) as file:
        assert file.read() == START + "hots = 1\n"


def test_a_broken_edit_can_be_mended(client: Client) -> None:
    mend = 'sed -i "s/^hots.*/hold = 1/" "$1"'
    editor(client, f'shift; if grep -q hots "$1"; then {mend}; else echo "hots = 1" >>"$1"; fi')
    with client.in_terminal("edit") as terminal:
        terminal.wait_for("edit again? (yes/no) ")
        terminal.type("yes\n")
        assert terminal.wait() == 0
    assert config(client) == START + "hold = 1\n"
    assert files(client) == ["config.toml", "config.toml~"]


@pytest.mark.parametrize("keys", ["no\n", "\x03"])
def test_giving_up_keeps_what_was_typed(client: Client, keys: str) -> None:
    editor(client, BROKEN)
    with client.in_terminal("edit", columns=200) as terminal:
        terminal.wait_for("edit again? (yes/no) ")
        terminal.type(keys)
        assert terminal.wait() == 2
        assert f"what you have typed is kept in {kept_copy(client)}" in terminal.shown
    assert config(client) == START


def test_an_editor_that_fails_changes_nothing(client: Client, run: Runner) -> None:
    editor(client, EDITED + "; exit 3")
    ended = run("edit")
    assert ended.returncode == 1
    failed, kept = ended.stderr.splitlines()
    assert failed.startswith("jtunnel: the editor failed (exit code 3: '")
    assert kept == f"jtunnel: what you have typed is kept in {kept_copy(client)}"
    assert config(client) == START


def test_an_editor_that_is_not_there(client: Client, run: Runner) -> None:
    client.environ["EDITOR"] = "no-such-editor -w"
    ended = run("edit")
    assert ended.returncode == 1
    assert "the editor was not found: no-such-editor -w; set EDITOR to another one" in ended.stderr
    assert files(client) == ["config.toml"]


def test_ctrl_c_is_the_editor_s(client: Client) -> None:
    # It asks for a Ctrl-C, lives on, and is edited with.
    editor(
        client,
        """shift; trap 'echo "# typed" >>"$1"; exit 0' INT; echo ready; while :; do read -r line; done""",
    )
    with client.in_terminal("edit") as terminal:
        terminal.wait_for("ready")
        terminal.type("\x03")
        assert terminal.wait() == 0
    assert config(client) == START + "# typed\n"


def test_a_config_that_changed_meanwhile_is_left_alone(client: Client, run: Runner) -> None:
    editor(client, f'{EDITED}; echo "# theirs" >>{client.config_file}')
    ended = run("edit")
    assert ended.returncode == 2
    kept, why = ended.stderr.splitlines()
    assert kept == f"jtunnel: what you have typed is kept in {kept_copy(client)}"
    assert why == f"jtunnel: {client.config_file} was changed by another program meanwhile; run this again"
    assert config(client) == START + "# theirs\n"


def test_an_editor_may_replace_the_file(client: Client, run: Runner) -> None:
    editor(client, 'shift; { cat "$1"; echo "# new"; } >"$1.new"; mv "$1.new" "$1"')
    assert run("edit").returncode == 0
    assert config(client) == START + "# new\n"
    assert stat.S_IMODE(os.stat(client.config_file).st_mode) == 0o644


def test_a_broken_config_can_be_mended(client: Client, run: Runner) -> None:
    write(client, START + "hots = 1\n")
    editor(client, 'shift; sed -i /hots/d "$1"')
    assert run("edit").returncode == 0
    assert config(client) == START
