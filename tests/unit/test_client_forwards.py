"""`jtunnel forward` with and without a scripted daemon: on the live tunnel, and in the config."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from jtunnel.errors import ConfigError, ControlError
from tests.support.edits import GPU, START, Runner, config, daemon_with, write
from tests.support.scripted_daemon import forward, tunnel
from tests.support.thin_client import Client


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        write(client, START)
        yield client


@pytest.fixture
def run(client: Client, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Runner:
    return Runner(client, monkeypatch, capfd)


def answer(**changes: Any) -> Any:
    return {**forward("8787", **changes), "temporary": True}


def test_the_forwards_of_a_tunnel(client: Client, run: Runner) -> None:
    problem = {"kind": "target-refused", "message": "nobody listens", "advice": "start it"}
    shown = tunnel("db", forwards=[forward("5432", active=2), answer(problem=problem)])
    with daemon_with(client, shown) as daemon:
        ended = run("forward", "db")
        assert daemon.calls == [("status", {"names": ["db"]})]
    assert ended.returncode == 0
    assert [line.split() for line in ended.stdout.splitlines()] == [
        ["5432", "local", "127.0.0.1:5432", "→", "localhost:5432", "2", "open"],
        ["8787", "local", "127.0.0.1:8787", "→", "localhost:8787", "temporary"],
        ["8787:", "nobody", "listens;", "start", "it"],
    ]


def test_a_forward_is_added_to_a_live_tunnel(client: Client, run: Runner) -> None:
    with daemon_with(client, forward=answer()) as daemon:
        ended = run("forward", "gpu", "8787")
        asked = {"name": "gpu", "spec": "8787", "kind": "local", "label": None}
        assert daemon.calls == [("forward", asked)]
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "gpu  8787  local  127.0.0.1:8787 → localhost:8787  temporary\n"
    assert config(client) == START


def test_a_forward_that_fails_is_taken_away_again(client: Client, run: Runner) -> None:
    problem = {
        "kind": "port-in-use",
        "message": "port 8787 on 127.0.0.1 is taken by python",
        "advice": 'end it, or give forward "8787" another port to listen on',
    }
    failed = answer(listening=False, problem=problem)
    with daemon_with(client, forward=failed, unforward={"removed": ["8787"]}) as daemon:
        ended = run("forward", "gpu", "8787", "--keep")
        assert daemon.calls[1] == ("unforward", {"name": "gpu", "spec": "8787"})
    assert (ended.returncode, ended.stdout) == (4, "")
    assert ended.stderr == (
        "jtunnel: gpu: port 8787 on 127.0.0.1 is taken by python; "
        "take another one: jtunnel forward gpu 8788:localhost:8787; it was not written to the config\n"
    )
    assert config(client) == START


@pytest.mark.parametrize(
    ("listen", "changes", "advice"),
    [
        ("127.0.0.1:80", {}, "take another one: jtunnel forward gpu 8080:localhost:8787"),
        ("[::1]:8787", {}, "take another one: jtunnel forward gpu [::1]:8788:localhost:8787"),
        (
            "127.0.0.1:8787",
            {"kind": "dynamic", "target": None},
            "take another one: jtunnel forward gpu 8788 --dynamic",
        ),
        (
            "localhost:8787",
            {"kind": "remote"},
            "take another one: jtunnel forward gpu 8788:localhost:8787 --remote",
        ),
        ("unix:/run/s", {}, "do this"),
        ("192.0.2.1:8787", {"message": "192.0.2.1 is not an address of this machine"}, "do this"),
    ],
)
def test_what_to_do_about_a_port_that_is_taken(
    client: Client, run: Runner, listen: str, changes: dict[str, Any], advice: str
) -> None:
    message = changes.pop("message", f"port {listen.rpartition(':')[2]} on gpu is taken")
    problem = {"kind": "port-in-use", "message": message, "advice": "do this"}
    failed = answer(listen=listen, listening=False, problem=problem, **changes)
    gone = ConfigError("usage", "gpu has no such forward", "")
    with daemon_with(client, forward=failed, unforward=gone):
        ended = run("forward", "gpu", "8787")
    assert (ended.returncode, ended.stdout) == (4, "")
    assert ended.stderr == f"jtunnel: gpu: {message}; {advice}\n"


def test_a_forward_that_cannot_be_kept_is_temporary(client: Client, run: Runner) -> None:
    write(client, START + "oops\n")
    with daemon_with(client, forward=answer()):
        ended = run("forward", "gpu", "8787", "--keep")
    assert ended.returncode == 2
    assert ended.stdout.endswith("  temporary\n")
    assert ended.stderr.startswith("jtunnel: not written to the config: ")
    assert config(client) == START + "oops\n"


def test_a_jupyter_server_without_a_connection_is_no_proxy(client: Client, run: Runner) -> None:
    lost = tunnel("gpu", "down", forwards=[forward("jupyter", target=None)])
    socks = tunnel("gpu", forwards=[forward("1080", kind="dynamic", target=None)])
    with daemon_with(client, lost):
        assert run("forward", "gpu").stdout == "jupyter  local  127.0.0.1:jupyter\n"
    with daemon_with(client, socks):
        assert "127.0.0.1:1080 (SOCKS)" in run("forward", "gpu").stdout


def test_a_forward_is_kept(client: Client, run: Runner) -> None:
    with daemon_with(client, forward=answer()) as daemon:
        assert run("forward", "gpu", "8787", "--keep").returncode == 0
        assert [method for method, _ in daemon.calls] == ["forward", "status", "reload"]
    assert config(client) == START.replace(GPU, GPU + 'forwards = ["8787"]\n')


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (["9000", "--remote"], '{ kind = "remote", listen = "9000", target = "localhost:9000" }'),
        (["1080", "-D", "--name", "socks"], '{ name = "socks", kind = "dynamic", listen = "1080" }'),
        (
            ["[::1]:90:[::1]:91", "--name", "six"],
            '{ name = "six", listen = "[::1]:90", target = "[::1]:91" }',
        ),
        (["~/s:/run/t"], '"~/s:/run/t"'),
        (["~/s:/run/t", "--name", "s"], '{ name = "s", listen = "~/s", target = "/run/t" }'),
    ],
)
def test_a_forward_is_kept_without_a_daemon(
    client: Client, run: Runner, words: list[str], written: str
) -> None:
    ended = run("forward", "db", *words, "--keep")
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == f"jtunnel: db: forward {words[0]} is in the config; it opens when db is up\n"
    assert config(client) == START.replace('["5432"]', f'["5432", {written}]')
    assert run("forward", "db", *words, "--keep").returncode == 0
    assert config(client) == START.replace('["5432"]', f'["5432", {written}]')


def test_a_tunnel_that_is_down_says_what_to_do(client: Client, run: Runner) -> None:
    down = ControlError("not-up", "gpu is down", "bring it up first: jtunnel up gpu")
    with daemon_with(client, forward=down):
        ended = run("forward", "gpu", "8787")
        assert ended.returncode == 1
        assert ended.stderr.endswith("jtunnel up gpu; or write it to the config for later: add --keep\n")
        assert run("forward", "gpu", "8787", "--keep").returncode == 0


def test_a_forward_is_taken_away(client: Client, run: Runner) -> None:
    with daemon_with(client, unforward={"removed": ["8787"]}) as daemon:
        ended = run("forward", "gpu", "8787", "--remove")
        assert daemon.calls == [("unforward", {"name": "gpu", "spec": "8787"})]
    assert (ended.returncode, ended.stdout) == (0, "gpu  8787  removed\n")
    with daemon_with(client, unforward={"removed": []}):
        assert run("forward", "gpu", "--remove").stderr == "jtunnel: gpu has no temporary forwards\n"


@pytest.mark.parametrize("spec", ["5432", "5432:localhost:5432"])
def test_a_forward_is_taken_out_of_the_config(client: Client, run: Runner, spec: str) -> None:
    kept = ConfigError("usage", "it is in the config", "--keep")
    with daemon_with(client, unforward=kept) as daemon:
        assert run("forward", "db", spec, "--remove").returncode == 2
        ended = run("forward", "db", spec, "--remove", "--keep")
        assert [method for method, _ in daemon.calls] == ["unforward", "unforward", "status", "reload"]
    assert (ended.returncode, ended.stdout) == (0, "db  5432  removed\n")
    assert config(client) == START.replace('["5432"]', "[]")
    ended = run("forward", "db", spec, "--remove", "--keep")
    assert ended.returncode == 2
    assert ended.stderr == f"jtunnel: the profile db has no forward {spec}; there are: none\n"


def test_keeping_nothing_is_refused(client: Client, run: Runner) -> None:
    for words in (["--keep"], ["--name", "x"], ["--remove", "--keep"]):
        assert run("forward", "gpu", *words).returncode == 2
