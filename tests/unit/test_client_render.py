"""What people read: the table, the lines of progress, times and widths."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jtunnel.client import render
from jtunnel.client.terminal import printable
from jtunnel.status import Problem, TunnelStatus
from tests.support.scripted_daemon import document, forward, jupyter, tunnel

NOW_S = datetime(2026, 11, 22, 4, 3, 12, tzinfo=UTC).timestamp()

LOST: Problem = {
    "kind": "connection-lost",
    "message": "gpu-box has not answered for 15 s",
    "advice": "check the network; jtunnel goes on trying",
}
REFUSED: Problem = {
    "kind": "target-refused",
    "message": "nobody listens at localhost:6006",
    "advice": "start it",
}


def test_table_as_wide_as_its_content() -> None:
    lines = render.status_lines(
        document(
            tunnel(),
            tunnel("database", "retrying", jupyter=None, forwards=[forward("5432")], problem=LOST),
            tunnel("x", "down", jupyter=None, since="2026-11-20T04:00:00Z"),
        ),
        NOW_S,
    )
    assert lines == [
        "NAME      STATE     SINCE  ADDRESS",
        "gpu       up        3m     http://localhost:8888/lab",
        "database  retrying  3m     127.0.0.1:5432",
        "  gpu-box has not answered for 15 s; check the network; jtunnel goes on trying",
        "x         down      2d",
    ]


def test_troubles_are_wrapped_and_long_cells_cut() -> None:
    status = tunnel("a-rather-long-name", "retrying", problem=LOST, retry_at="2026-11-22T04:03:16.500Z")
    assert render.status_lines(document(status), NOW_S, width=60) == [
        "NAME                STATE     SINCE  ADDRESS",
        "a-rather-long-name  retrying  3m     http://localhost:8888/…",
        "  gpu-box has not answered for 15 s; check the network;",
        "  jtunnel goes on trying; next try in 5s",
    ]
    assert render.status_lines(document(status), NOW_S, width=40) == [
        "NAME           STATE     SINCE  ADDRESS",
        "a-rather-lon…  retrying  3m     http://…",
        "  gpu-box has not answered for 15 s;",
        "  check the network; jtunnel goes on",
        "  trying; next try in 5s",
    ]


@pytest.mark.parametrize("width", [1, 5, 12, 20, 33, 40, 79, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    status = tunnel("a-rather-long-name", "blocked", problem=LOST, forwards=[forward(problem=REFUSED)])
    shown = document(status, tunnel(), config_problem=LOST)
    # Below what an indented letter takes, nothing can be done.
    assert max(map(len, render.status_lines(shown, NOW_S, width=width))) <= max(width, 3)


def test_colour_changes_nothing_else() -> None:
    shown = document(tunnel(), tunnel("x", "blocked", problem=LOST))
    plain = render.status_lines(shown, NOW_S, width=60)
    coloured = render.status_lines(shown, NOW_S, width=60, colour=True)
    assert coloured[1] == plain[1].replace("up", "\x1b[32mup\x1b[0m", 1)
    assert coloured[2] == plain[2].replace("blocked", "\x1b[31mblocked\x1b[0m")
    assert coloured[3:] == plain[3:]


def test_no_profiles_names_the_config() -> None:
    assert render.status_lines(document(), NOW_S) == [
        "no profiles yet; describe one in /home/me/.config/jtunnel/config.toml"
    ]


def test_problems_of_config_and_forwards_are_shown() -> None:
    config: Problem = {
        "kind": "config-invalid",
        "message": "c.toml line 3: unknown key",
        "advice": "did you mean host?",
    }
    lines = render.status_lines(
        document(tunnel(forwards=[forward(problem=REFUSED)]), config_problem=config), NOW_S
    )
    assert lines[2:] == [
        "  forward 6006: nobody listens at localhost:6006; start it",
        "config: c.toml line 3: unknown key; did you mean host?",
    ]


def test_a_forward_does_not_repeat_its_tunnels_problem() -> None:
    assert render.troubles(tunnel(problem=LOST, forwards=[forward(problem=LOST)]), NOW_S) == [
        "gpu-box has not answered for 15 s; check the network; jtunnel goes on trying"
    ]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (tunnel(state="connecting"), "connecting to gpu-box, 2 s…"),
        (tunnel(state="starting", jupyter=jupyter("searching")), "looking for Jupyter, 2 s…"),
        (tunnel(state="starting", jupyter=jupyter("starting")), "starting JupyterLab, 2 s…"),
        (tunnel(state="starting", jupyter=None), "starting, 2 s…"),
        (tunnel(state="queued"), "waiting for its batch job, 2 s…"),
        (
            tunnel(state="retrying", problem=LOST, retry_at="2026-11-22T04:00:06.2Z"),
            "retrying in 4 s: gpu-box has not answered for 15 s",
        ),
        (tunnel(state="retrying", problem=LOST), "trying again: gpu-box has not answered for 15 s"),
        (tunnel(state="blocked", problem=LOST), "blocked: gpu-box has not answered for 15 s"),
        (tunnel(), "up  http://localhost:8888/lab"),
        (tunnel(state="down"), "down"),
    ],
)
def test_progress(status: TunnelStatus, expected: str) -> None:
    assert render.progress(status, render.moment("2026-11-22T04:00:03Z")) == expected


def test_addresses_are_those_of_this_machine() -> None:
    listens = [
        forward("5432"),
        forward("9000", kind="remote"),
        forward("pg", listen="unix:/home/me/.run/pg.sock"),
        forward("1080", kind="dynamic", target=None),
    ]
    assert render.addresses(tunnel(jupyter=None, forwards=listens)) == [
        "127.0.0.1:5432",
        "unix:/home/me/.run/pg.sock",
        "127.0.0.1:1080",
    ]
    assert render.addresses(tunnel(jupyter=jupyter(url=None), forwards=[forward("8888")])) == [
        "127.0.0.1:8888"
    ]


@pytest.mark.parametrize(
    ("seconds_s", "expected"),
    [
        (-3, "0s"),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (3599, "59m"),
        (3600, "1h"),
        (86399, "23h"),
        (200000, "2d"),
    ],
)
def test_span(seconds_s: float, expected: str) -> None:
    assert render.span(seconds_s) == expected


def test_moment_agrees_with_datetime() -> None:
    start = datetime(1999, 12, 28, 23, 59, 58, 250000, tzinfo=UTC)
    for days in range(0, 366 * 9, 5):
        day = start + timedelta(days=days)
        text = day.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert render.moment(text) == day.timestamp(), text


def test_text_from_elsewhere_cannot_drive_the_terminal() -> None:
    assert printable("plain → text") == "plain → text"
    assert printable("two\nlines\x1b[2J\r\x07\u202e") == "two lines�[2J���"
    evil: Problem = {"kind": "internal", "message": "\x1b]0;owned\x07", "advice": ""}
    shown = render.status_lines(document(tunnel(name="a\x1bb", problem=evil)), NOW_S, width=60)
    assert all(line.isprintable() for line in shown)
