"""`jtunnel history` against a scripted daemon: pictures, narrow and plain terminals, colours, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from jtunnel.client.views.past import length, local_time, percent, picture
from jtunnel.errors import ConfigError
from tests.support.screen import Screen
from tests.support.scripted_daemon import ScriptedDaemon
from tests.support.thin_client import Client

DAY: dict[str, Any] = {
    "availability": 0.97217,
    "bars": [None] * 8
    + [1.0, 1.0, 1.0, 0.999, 0.87, 0.5, 0.2, 0.0, 0.0, 0.31, 1.0, 1.0, None, 1.0, 0.96, 1.0],
}
WEEK: dict[str, Any] = {
    "availability": 0.99486,
    "bars": [None] * 12
    + [1.0, 1.0, 1.0, None, 1.0, 0.94, 1.0, None, 1.0, 1.0, 1.0, None, 1.0, 0.7, 0.3, 1.0],
}
NOTHING: dict[str, Any] = {"availability": None, "bars": [None] * 24}


def outage(
    since: str, until: str | None, seconds: float, kind: str | None, message: str | None
) -> dict[str, Any]:
    return {"from": since, "until": until, "seconds": seconds, "kind": kind, "message": message}


OUTAGES = [
    outage("2026-11-22T09:14:48.000Z", None, 12.4, "connection-lost", "gpu-box has not answered for 12 s"),
    outage("2026-11-22T01:05:00.000Z", "2026-11-22T03:15:30.000Z", 7830.0, "host-unreachable", "no network"),
    outage("2026-11-21T17:02:00.000Z", "2026-11-21T17:02:01.900Z", 1.9, None, None),
    outage(
        "2026-11-18T12:00:00.000Z",
        "2026-11-18T12:03:05.000Z",
        185.0,
        "auth-failed",
        "gpu-box refused the login: Permission denied (publickey,keyboard-interactive,hostbased)",
    ),
    outage("2026-10-02T23:59:59.000Z", "2026-10-06T04:00:00.000Z", 273_600.0, "host-unreachable", "no route"),
]
GPU = {"name": "gpu", "state": "retrying", "day": DAY, "week": WEEK, "outages": OUTAGES}
DB = {"name": "db", "state": "up", "day": WEEK, "week": WEEK, "outages": []}
NEW = {"name": "new", "state": "down", "day": NOTHING, "week": NOTHING, "outages": []}


def history(*tunnels: dict[str, Any]) -> dict[str, Any]:
    return {"at": "2026-11-22T09:15:00.400Z", "tunnels": list(tunnels)}


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        client.environ["TZ"] = "UTC"
        yield client


@pytest.mark.parametrize(
    ("name", "tunnels", "columns", "variables"),
    [
        ("history", [GPU], 80, {}),
        ("history-several", [GPU, DB, NEW], 80, {}),
        ("history-narrow", [GPU, DB], 40, {}),
        ("history-tiny", [GPU], 16, {}),
        ("history-ascii", [GPU, NEW], 80, {"LANG": "C"}),
    ],
)
def test_pictures(
    client: Client, name: str, tunnels: list[dict[str, Any]], columns: int, variables: dict[str, str]
) -> None:
    client.environ |= variables
    answers = {"history": history(*tunnels)}
    with (
        ScriptedDaemon(client.runtime_dir, answers),
        Screen(client.command("history"), client.environ, columns=columns, rows=30) as screen,
    ):
        assert screen.wait() == 0
        screen.wait_for_picture(name)


@pytest.mark.parametrize(("columns", "ends"), [(80, "  of 1 min 3 s wanted"), (50, "▇█")])
def test_it_is_said_of_how_much_time(client: Client, columns: int, ends: str) -> None:
    part = {**DAY, "wanted_seconds": 63.0}
    client.environ["COLUMNS"] = str(columns)
    with ScriptedDaemon(client.runtime_dir, {"history": history({**DB, "day": part})}):
        lines = client.run("history", "db").stdout.splitlines()
    assert lines[1].endswith(ends)
    assert "wanted" not in lines[2]


def test_names_and_tags_are_passed_on_and_json_is_the_answer_alone(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"history": history(GPU)}) as daemon:
        done = client.run("history", "gpu*", "--tag", "work", "--json")
        client.run("history")
        assert daemon.calls == [("history", {"names": ["gpu*"], "tags": ["work"]}), ("history", {})]
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == history(GPU)


def test_colours_where_they_are_wanted(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"history": history(GPU)}):
        assert "\x1b" not in client.run("history").stdout
        shown = client.run("history", "--color", "always").stdout
        for code, text in (("32", "█"), ("33", "▇"), ("31", "▁"), ("33", "retrying"), ("2", "·")):
            assert f"\x1b[{code}m{text}\x1b[0m" in shown
        with client.in_terminal("history", "--color", "never") as terminal:
            assert terminal.wait() == 0
        assert "\x1b" not in terminal.shown


def test_what_comes_from_afar_cannot_steer_the_terminal(client: Client) -> None:
    evil = {**GPU, "outages": [outage("2026-11-22T09:14:48.000Z", None, 1, "internal", "a\x1b[2Jb")]}
    with ScriptedDaemon(client.runtime_dir, {"history": history(evil)}):
        assert "\x1b" not in client.run("history").stdout


def test_without_a_daemon_and_with_a_wrong_name(client: Client) -> None:
    assert client.run("history").returncode == 3
    error = ConfigError("unknown-profile", "no profile 'gpo' in c.toml", "did you mean gpu?")
    with ScriptedDaemon(client.runtime_dir, {"history": error}):
        done = client.run("history", "gpo")
    assert (done.returncode, done.stdout) == (2, "")


def test_more_outages_than_are_shown(client: Client) -> None:
    many = {**GPU, "outages": OUTAGES * 4}
    with ScriptedDaemon(client.runtime_dir, {"history": history(many)}):
        assert client.run("history").stdout.splitlines()[-1] == "  5 more: jtunnel history gpu --json"
    with ScriptedDaemon(client.runtime_dir, {"history": history(many, DB)}):
        assert "  17 more: jtunnel history gpu\n" in client.run("history").stdout


def test_only_always_is_a_full_bar_and_a_hundred_percent() -> None:
    assert picture([None, 0.0, 0.01, 0.5, 0.99, 1.0]) == "·▁▁▄▇█"
    assert picture([None, 0.0, 0.01, 0.5, 0.99, 1.0], ascii_only=True) == ".0059#"
    shares = (None, 0.0, 0.29, 0.98999, 0.99, 0.9986, 0.99999, 1.0)
    assert [percent(share) for share in shares] == [
        "-",
        "0.0 %",
        "29.0 %",
        "98.9 %",
        "99.00 %",
        "99.86 %",
        "99.99 %",
        "100 %",
    ]


def test_lengths() -> None:
    assert [length(seconds) for seconds in (0.44, 9.96, 59.4, 185, 7830, 273_600)] == [
        "0.4 s",
        "10.0 s",
        "59 s",
        "3 min 5 s",
        "2 h 10 min",
        "3 d 4 h",
    ]


def test_times_of_today_of_this_week_and_of_before() -> None:
    noon = 1_795_608_000.0
    assert len(local_time(noon, noon)) == len("14:03")
    assert len(local_time(noon - 3 * 86400, noon)) == len("Sat 14:03")
    assert len(local_time(noon - 30 * 86400, noon)) == len("2026-11-02 14:03")
    # A clock that was ahead.
    assert len(local_time(noon + 3 * 86400, noon)) == len("2026-11-02 14:03")
