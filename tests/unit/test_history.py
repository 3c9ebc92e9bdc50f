"""The history: what counts as up, as away and as nothing; the file, and what can happen to it."""

from __future__ import annotations

import json
import logging
import os
import random
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtunnel import wire
from jtunnel.errors import JTunnelError
from jtunnel.status import State
from jtunnel.telling.history import BEAT_S, History
from tests.support.told import DENIED, LOST, REFUSED, Life, Machine


class Daemon:
    """A history on a machine, and the tunnels that tell it things."""

    def __init__(self, path: Path, machine: Machine | None = None) -> None:
        self.machine = machine or Machine()
        self.path = path
        self.lives: dict[str, Life] = {}
        self.start()

    def start(self) -> None:
        self.lives.clear()
        self.history = History(str(self.path), clocks=self.machine.clocks, wall=self.machine.wall)

    def tell(self, state: State, error: JTunnelError | None = None, name: str = "gpu") -> float | None:
        """The seconds of the outage that ends with it."""
        life = self.lives.setdefault(name, Life(name))
        ended = self.history.note(life.become(state, error, at=self.machine.at))
        return ended.seconds if ended else None

    def run(self, seconds: float) -> None:
        """Time passes as in a daemon: with a beat where nothing else happens."""
        while seconds > 0:
            part_s = min(seconds, BEAT_S - self.history.quiet_s)
            self.machine.run(part_s)
            if self.history.quiet_s >= BEAT_S:
                self.history.beat()
            seconds -= part_s

    def shown(self, name: str = "gpu") -> dict[str, Any]:
        (shown,) = self.history.show([name])["tunnels"]
        return dict(shown)


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return Daemon(tmp_path / "history.jsonl")


def outages(daemon: Daemon, name: str = "gpu") -> list[tuple[float, str | None, str | None]]:
    return [(each["seconds"], each["kind"], each["until"]) for each in daemon.shown(name)["outages"]]


def test_time_up_of_time_wanted_and_the_outage_between(daemon: Daemon) -> None:
    daemon.tell("up")
    daemon.run(1800)
    daemon.tell("retrying", LOST)
    daemon.run(30)
    daemon.tell("connecting")
    daemon.run(6)
    assert daemon.tell("up") == 36
    daemon.run(1764)
    daemon.tell("down")
    # Not wanted: whatever passes now counts as nothing.
    daemon.run(40_000)
    shown = daemon.shown()
    assert shown["day"]["availability"] == shown["week"]["availability"] == 0.99
    assert shown["day"]["wanted_seconds"] == shown["week"]["wanted_seconds"] == 3600
    assert shown["state"] == "down"
    assert shown["outages"] == [
        {
            "from": "2026-11-22T09:30:00.000Z",
            "until": "2026-11-22T09:30:36.000Z",
            "seconds": 36.0,
            "kind": "connection-lost",
            "message": "gpu-box has not answered for 12 s",
        }
    ]


def test_connecting_counts_as_not_up_but_is_no_outage(daemon: Daemon) -> None:
    daemon.tell("connecting")
    daemon.run(10)
    daemon.tell("retrying", REFUSED)
    daemon.run(80)
    daemon.tell("up")
    daemon.run(10)
    assert daemon.shown()["day"]["availability"] == 0.1
    assert daemon.shown()["day"]["wanted_seconds"] == 100
    assert outages(daemon) == []


def test_an_outage_that_lasts(daemon: Daemon) -> None:
    daemon.tell("up")
    daemon.run(100)
    daemon.tell("retrying", LOST)
    daemon.run(20)
    assert outages(daemon) == [(20.0, "connection-lost", None)]
    # To look at it is not to live through it twice.
    assert outages(daemon) == [(20.0, "connection-lost", None)]
    daemon.tell("down")
    assert outages(daemon) == [(20.0, "connection-lost", "2026-11-22T09:02:00.000Z")]


@pytest.mark.parametrize(
    ("problems", "cause"),
    [
        ([LOST, REFUSED], "connection-lost"),
        ([None, REFUSED, LOST], "host-unreachable"),
        ([LOST, REFUSED, DENIED, LOST], "auth-failed"),
        ([None], None),
    ],
)
def test_the_cause_is_the_first_problem_or_the_one_for_a_person(
    daemon: Daemon, problems: list[JTunnelError | None], cause: str | None
) -> None:
    daemon.tell("up")
    for problem in problems:
        daemon.run(5)
        daemon.tell("retrying", problem)
    daemon.run(5)
    daemon.tell("up")
    assert [kind for _, kind, _ in outages(daemon)] == [cause]


def test_a_moment_without_a_problem_is_no_outage(daemon: Daemon) -> None:
    for state in ("up", "starting", "up"):
        daemon.tell(state)
        daemon.run(0.5)
    assert outages(daemon) == []
    daemon.tell("retrying", LOST)
    daemon.run(0.5)
    daemon.tell("up")
    assert len(outages(daemon)) == 1


def test_sleep_is_neither_up_nor_an_outage(daemon: Daemon) -> None:
    daemon.tell("up")
    daemon.run(600)
    daemon.machine.sleep(8 * 3600)
    daemon.run(300)
    daemon.tell("retrying", LOST)
    daemon.run(50)
    daemon.machine.sleep(3600)
    daemon.run(50)
    assert daemon.tell("up") == 100
    assert daemon.shown()["day"]["availability"] == 0.9


def test_sleep_that_stops_no_clock_costs_ten_minutes_at_most(daemon: Daemon) -> None:
    daemon.tell("retrying", LOST)
    daemon.machine.run(9 * 3600)
    daemon.tell("up")
    daemon.run(1000)
    share = daemon.shown()["day"]["availability"]
    assert share == pytest.approx(1000 / (1000 + BEAT_S), abs=0.02)


@pytest.mark.parametrize("crashes", [True, False])
def test_a_time_without_a_daemon_counts_as_nothing(daemon: Daemon, crashes: bool) -> None:
    daemon.tell("up")
    daemon.run(3000)
    daemon.tell("retrying", LOST)
    daemon.run(600)
    daemon.tell("retrying", REFUSED)
    daemon.run(200)
    if not crashes:
        daemon.history.close()
    daemon.machine.run(7200)
    daemon.start()
    # What a crash takes away is the time since the last line.
    seen_s = 600 if crashes else 800
    assert [seconds for seconds, _, _ in outages(daemon)] == [seen_s]
    until = "2026-11-22T10:00:00.000Z" if crashes else "2026-11-22T10:03:20.000Z"
    assert daemon.shown()["outages"][0]["until"] == until
    assert daemon.shown()["day"]["availability"] == pytest.approx(3000 / (3000 + seen_s), abs=1e-4)
    daemon.tell("connecting")
    daemon.run(10)
    daemon.tell("up")
    assert len(outages(daemon)) == 1


@pytest.mark.parametrize("step_s", [-86_400.0, -5.0, 5.0, 40 * 365 * 86_400.0])
def test_a_clock_that_is_set_changes_no_length(daemon: Daemon, step_s: float) -> None:
    daemon.tell("up")
    daemon.run(900)
    daemon.tell("retrying", LOST)
    daemon.run(40)
    daemon.machine.set_clock(step_s)
    daemon.run(60)
    assert daemon.tell("up") == pytest.approx(100)
    share = daemon.shown()["day"]["availability"]
    # What lies in the future or long ago is not part of this day.
    assert share == pytest.approx(0.9, abs=0.01) if abs(step_s) < 10 else share is not None


def test_bars_are_hours_of_a_day_and_quarters_of_the_days_of_a_week(daemon: Daemon) -> None:
    daemon.tell("up")
    daemon.run(3600 * 3)
    daemon.tell("retrying", LOST)
    daemon.run(900)
    daemon.tell("up")
    daemon.run(2700)
    daemon.tell("down")
    daemon.run(7200)
    daemon.tell("up")
    daemon.run(60)
    shown = daemon.shown()
    assert shown["day"]["bars"] == [None] * 17 + [1.0, 1.0, 1.0, 0.75, None, None, 1.0]
    assert len(shown["week"]["bars"]) == 28
    assert shown["week"]["bars"][-2:] == [1.0, pytest.approx(9960 / 10860, abs=0.001)]


def test_only_what_was_always_up_is_one(daemon: Daemon) -> None:
    daemon.tell("connecting")
    daemon.run(0.001)
    daemon.tell("up")
    daemon.run(23 * 3600)
    assert daemon.shown()["day"]["availability"] == 0.99999
    # An hour of the day before counts with the part of it that is left.
    daemon.run(2 * 3600)
    assert daemon.shown()["day"]["availability"] == 1.0


def test_nothing_is_known_of_a_tunnel_that_never_was_wanted(daemon: Daemon) -> None:
    shown = daemon.shown("other")
    assert shown["day"] == {"availability": None, "wanted_seconds": 0.0, "bars": [None] * 24}
    assert shown["week"] == {"availability": None, "wanted_seconds": 0.0, "bars": [None] * 28}
    assert (shown["state"], shown["outages"]) == ("down", [])


def test_at_most_fifty_outages_the_newest_first(daemon: Daemon) -> None:
    for number in range(60):
        daemon.tell("up")
        daemon.run(60)
        daemon.tell("retrying", LOST)
        daemon.run(number + 1)
    daemon.tell("up")
    assert [seconds for seconds, _, _ in outages(daemon)] == [float(number) for number in range(60, 10, -1)]


def test_a_new_name_has_the_past_of_the_old(daemon: Daemon) -> None:
    daemon.tell("up")
    daemon.run(900)
    daemon.tell("retrying", LOST)
    daemon.run(100)
    daemon.tell("down")
    daemon.history.rename("gpu", "big")
    for _ in range(2):
        assert daemon.shown("big")["day"]["availability"] == 0.9
        assert len(outages(daemon, "big")) == 1
        assert daemon.shown("gpu")["day"]["availability"] is None
        daemon.start()


def test_the_file_is_private(daemon: Daemon) -> None:
    daemon.tell("up")
    assert stat.S_IMODE(daemon.path.stat().st_mode) == 0o600
    daemon.path.chmod(0o644)
    daemon.start()
    assert stat.S_IMODE(daemon.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "junk",
    [
        b'{"at":1763',
        b"\x00\xff\xfe",
        b"[1]\n{}\n" + b"[" * 5000,
        b'{"at":NaN,"ran":1,"name":"gpu","state":"up"}',
        b'{"at":1e300,"ran":1,"name":"gpu","state":"up"}\n{"at":true,"ran":[],"name":3}',
        b'{"name":"gpu","past":{"state":"up","seen":1,"hours":[],"outages":7,"outage":{}}}',
        b'{"at":1763000000,"ran":1,"name":["gpu"],"renamed":{}}',
    ],
)
def test_what_makes_no_sense_is_passed_over(daemon: Daemon, junk: bytes) -> None:
    daemon.tell("up")
    daemon.run(900)
    daemon.tell("retrying", LOST)
    daemon.run(100)
    daemon.tell("down")
    with daemon.path.open("ab") as file:
        file.write(junk)
    # A daemon that goes on writes behind it; the next one reads all the rest.
    daemon.history = History(str(daemon.path), clocks=daemon.machine.clocks, wall=daemon.machine.wall)
    with daemon.path.open("ab") as file:
        file.write(junk)
    daemon.tell("up", name="other")
    daemon.start()
    assert daemon.shown()["day"]["availability"] == 0.9
    assert outages(daemon) == [(100.0, "connection-lost", "2026-11-22T09:16:40.000Z")]


@given(st.binary(max_size=400))
@settings(max_examples=30, deadline=None)
def test_any_file_can_be_read(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    path = tmp_path_factory.mktemp("junk") / "history.jsonl"
    path.write_bytes(junk)
    daemon = Daemon(path)
    daemon.tell("up")
    daemon.run(10)
    assert daemon.shown()["day"]["availability"] == 1.0


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow larger, as on a full disk: what crosses the limit is cut off (setrlimit(2))."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_line_in_the_log_and_costs_nothing_afterwards(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    daemon.tell("up")
    daemon.run(900)
    with largest_file(os.path.getsize(daemon.path) + 30):
        for _ in range(5):
            daemon.tell("retrying", LOST)
            daemon.run(20)
            daemon.tell("up")
            daemon.run(80)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "history.jsonl" in caplog.text
    daemon.run(60)
    daemon.tell("down")
    assert len(outages(daemon)) == 5
    before = daemon.shown()
    daemon.start()
    assert daemon.shown() == before


@pytest.mark.long
def test_years_of_use_leave_a_small_file(daemon: Daemon) -> None:
    chance = random.Random(4)
    largest = 0
    for day in range(200):
        for _ in range(40):
            name = f"t{chance.randrange(5)}"
            daemon.tell("up", name=name)
            daemon.machine.run(chance.uniform(1, 500))
            daemon.tell("retrying", LOST, name=name)
            daemon.machine.run(chance.uniform(1, 50))
        daemon.machine.sleep(12 * 3600)
        if day % 90 == 0:
            daemon.history.close()
            daemon.start()
        largest = max(largest, daemon.path.stat().st_size)
    # 4000 lines, and the summary.
    assert 200_000 < largest < 600_000, largest


def test_the_answer_fits_into_one_line_for_a_thousand_tunnels(daemon: Daemon) -> None:
    names = [f"a-rather-long-name-{number}" for number in range(1000)]
    wordy = JTunnelError("connection-lost", "ü" * 1000)
    for _ in range(3):
        for name in names:
            daemon.tell("up", name=name)
        daemon.machine.run(1)
        for name in names:
            daemon.tell("retrying", wordy, name=name)
    assert len(wire.result(1, daemon.history.show(names))) < wire.MAX_LINE
    for number in range(70):
        daemon.tell(("up", "retrying")[number % 2], LOST, name=names[0])
    assert len(daemon.history.show(names[:30])["tunnels"][0]["outages"]) >= 30


STATES: list[State] = ["down", "connecting", "up", "retrying", "blocked"]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.sampled_from(STATES), st.sampled_from(["a", "b"])),
        st.tuples(st.just("run"), st.floats(0.001, 5000), st.none()),
        st.tuples(st.just("sleep"), st.floats(1, 90_000), st.none()),
        st.tuples(st.just("clock"), st.floats(-4000, 4000), st.none()),
        st.tuples(st.just("rename"), st.sampled_from(["a", "b"]), st.sampled_from(["a", "b", "c"])),
        st.tuples(st.just("restart"), st.none(), st.none()),
    ),
    max_size=30,
)


@given(steps)
@settings(max_examples=80, deadline=None)
def test_memory_holds_what_the_file_gives(
    tmp_path_factory: pytest.TempPathFactory, done: list[tuple[str, Any, Any]]
) -> None:
    daemon = Daemon(tmp_path_factory.mktemp("any") / "history.jsonl")
    for what, value, more in done:
        match what:
            case "tell":
                daemon.tell(value, LOST if value in ("retrying", "blocked") else None, more)
            case "run":
                daemon.run(value)
            case "sleep":
                daemon.machine.sleep(value)
            case "clock":
                daemon.machine.set_clock(value)
            case "rename":
                daemon.history.rename(value, more)
            case _:
                daemon.history.close()
                daemon.start()
    daemon.history.close()
    before = daemon.history.show(["a", "b", "c"])
    for tunnel in before["tunnels"]:
        for part in (tunnel["day"], tunnel["week"]):
            assert all(bar is None or 0 <= bar <= 1 for bar in (part["availability"], *part["bars"]))
    daemon.start()
    assert daemon.history.show(["a", "b", "c"]) == before
    lines = [json.loads(line) for line in daemon.path.read_text().splitlines()]
    assert all(isinstance(line, dict) for line in lines)
