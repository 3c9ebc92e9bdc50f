"""The layout of `status`: groups, columns for which there is room, addresses that are never cut, colours."""

from __future__ import annotations

import re

import pytest

from jtunnel.client.views import view
from jtunnel.client.views.measures import moment
from jtunnel.client.views.width import columns
from jtunnel.status import Problem, StatusDocument
from tests.support.scripted_daemon import document, forward, jupyter, tunnel

NOW_S = moment("2026-11-22T04:03:12Z")
URL = "http://localhost:8888/lab"

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
CONFIG: Problem = {
    "kind": "config-invalid",
    "message": "c.toml line 3: unknown key",
    "advice": "did you mean host?",
}


def many() -> StatusDocument:
    """Tunnels of every sort, two of them tagged."""
    return document(
        tunnel(
            tags=["work"],
            latency_ms=12.3,
            via=["bastion"],
            forwards=[forward("jupyter", held=4, bytes_in=12_345_678, bytes_out=33_333), forward()],
        ),
        tunnel(
            "db", "retrying", jupyter=None, tags=["work", "home"], forwards=[forward("5432")], problem=LOST
        ),
        tunnel("x", "blocked", tags=["home"], problem=LOST),
        tunnel("lazy", "down", autostart="on-demand", jupyter=jupyter(url=None), forwards=[forward("8890")]),
        tunnel("off", "down", jupyter=None, forwards=[forward("9000", kind="remote", listening=False)]),
    )


def test_several_without_tags_are_one_table_with_what_needs_a_person_first() -> None:
    shown = document(
        tunnel(),
        tunnel("database", "retrying", jupyter=None, forwards=[forward("5432")], problem=LOST),
        tunnel("x", "blocked", jupyter=None, since="2026-11-20T04:00:00Z", problem=LOST),
    )
    assert view.status_lines(shown, NOW_S) == [
        "NAME      STATE     SINCE  ADDRESS",
        "x         blocked   2 d",
        "  gpu-box has not answered for 15 s; check the network; jtunnel goes on trying",
        f"gpu       up        3 min  {URL}",
        "database  retrying  3 min  127.0.0.1:5432",
        "  gpu-box has not answered for 15 s; check the network; jtunnel goes on trying; trying now",
    ]


def test_tags_make_groups() -> None:
    lines = view.status_lines(many(), NOW_S)
    assert [line for line in lines if line.endswith(":")] == ["blocked:", "work:", "without a tag:"]
    assert [line.split()[0] for line in lines if line and not line.startswith(" ")] == [
        "NAME",
        "blocked:",
        "x",
        "work:",
        "gpu",
        "db",
        "without",
        "lazy",
        "off",
    ]


def test_one_group_needs_no_heading() -> None:
    lines = view.status_lines(document(tunnel(tags=["a"]), tunnel("db", tags=["a"])), NOW_S)
    assert [line.split()[0] for line in lines] == ["NAME", "gpu", "db"]


@pytest.mark.parametrize(
    ("width", "headings"),
    [
        (60, ["NAME", "STATE", "SINCE", "ADDRESS", "HELD"]),
        (80, ["NAME", "STATE", "SINCE", "ADDRESS", "HELD", "LATENCY"]),
        (90, ["NAME", "STATE", "SINCE", "ADDRESS", "HELD", "HOST"]),
        (140, ["NAME", "STATE", "SINCE", "ADDRESS", "HELD", "HOST", "LATENCY", "IN", "OUT"]),
    ],
)
def test_wider_terminals_show_more(width: int, headings: list[str]) -> None:
    assert view.status_lines(many(), NOW_S, width=width)[0].split() == headings


def test_columns_that_are_empty_everywhere_are_left_out() -> None:
    shown = document(tunnel(user=None, host="h"), tunnel("b", "down"))
    assert view.status_lines(shown, NOW_S, width=200)[0].split() == [
        "NAME",
        "STATE",
        "SINCE",
        "ADDRESS",
        "HOST",
    ]


def test_who_watches_sees_speeds() -> None:
    lines = view.status_lines(many(), NOW_S, width=140, rates={"gpu": (1_200_000.0, 0.2)})
    assert lines[0].split()[:6] == ["NAME", "STATE", "SINCE", "ADDRESS", "HELD", "IN/S"]
    # Nothing moves aside when bytes begin to flow.
    assert lines[0] == view.status_lines(many(), NOW_S, width=140, rates={})[0]
    assert "1.2 MB" in next(line for line in lines if line.startswith("gpu"))


def test_of_one_tunnel_the_speeds_are_among_the_facts() -> None:
    shown = document(tunnel(forwards=[forward("jupyter", bytes_in=7)]))
    assert view.status_lines(shown, NOW_S)[1].endswith(", 7 B in, 0 B out")
    rates = {"gpu": (1_200_000.0, 20.0)}
    assert view.status_lines(shown, NOW_S, rates=rates)[1].endswith(", 1.2 MB/s in, 20 B/s out")
    assert view.status_lines(shown, NOW_S, rates={})[1].endswith(", 0 B/s in, 0 B/s out")


def test_where_a_table_does_not_fit_addresses_have_lines_of_their_own() -> None:
    lines = view.status_lines(many(), NOW_S, width=40)
    assert lines[lines.index("work:") :][:4] == [
        "work:",
        "gpu   up         3 min  4 wait",
        f"  {URL} +1",
        "db    retrying   3 min",
    ]
    assert "  gpu-box has not answered for 15 s;" in lines
    assert "  remote 127.0.0.1:9000" in lines


@pytest.mark.parametrize("width", [1, 5, 12, 20, 33, 40, 79, 200])
@pytest.mark.parametrize("count", [1, 5])
def test_no_line_but_an_address_is_wider_than_the_terminal(width: int, count: int) -> None:
    shown = many()
    shown["tunnels"] = shown["tunnels"][:count]
    shown["daemon"]["config_problem"] = CONFIG
    for line in view.status_lines(shown, NOW_S, width=width):
        if not re.fullmatch(r"  (http|127|remote)\S* ?\S*( \+\d)?", line):
            # Below what an indented letter takes, nothing can be done.
            assert columns(line) <= max(width, 4), line


def test_one_tunnel_is_a_few_lines() -> None:
    status = tunnel(
        latency_ms=12.3,
        forwards=[
            forward("jupyter"),
            forward("6006", active=2, held=1, problem=REFUSED),
            forward("socks", kind="dynamic", listen="127.0.0.1:1080", target=None),
            forward("back", kind="remote", temporary=True),
        ],
    )
    assert view.status_lines(document(status), NOW_S, width=100) == [
        f"gpu  up  3 min  {URL}  1 waits",
        "  me@gpu.example, round trip 12 ms",
        "  Jupyter 2.21.1 on gpu.example (pid 123), in /home/me, 0 kernels",
        "  6006   local    127.0.0.1:6006 → localhost:6006  2 open, 1 waits",
        "  socks  dynamic  127.0.0.1:1080 (SOCKS)",
        "  back   remote   127.0.0.1:back → localhost:back  temporary",
        "  forward 6006: nobody listens at localhost:6006; start it",
    ]
    assert view.status_lines(document(tunnel(state="down", jupyter=None)), NOW_S) == ["gpu  down  3 min"]


def test_one_tunnel_in_a_narrow_terminal_keeps_its_address() -> None:
    status = tunnel(forwards=[forward("jupyter", held=4)])
    assert view.status_lines(document(status), NOW_S, width=32)[:4] == [
        "gpu  up  3 min  4 wait",
        f"  {URL}",
        "  me@gpu.example",
        "  Jupyter 2.21.1 on gpu.example",
    ]


def test_colour_changes_nothing_else() -> None:
    for shown in (many(), document(tunnel()), document(many()["tunnels"][2])):
        for width in (None, 40, 140):
            plain = view.status_lines(shown, NOW_S, width=width)
            coloured = view.status_lines(shown, NOW_S, width=width, colour=True)
            assert [re.sub(r"\x1b\[\d+m", "", line) for line in coloured] == plain
            assert coloured != plain


def test_states_have_their_colours() -> None:
    lines = view.status_lines(many(), NOW_S, colour=True)
    for state, code in (("up", 32), ("retrying", 33), ("blocked", 31), ("on demand", 2), ("down", 2)):
        assert any(f"\x1b[{code}m{state}\x1b[0m" in line for line in lines), state


def test_summary() -> None:
    assert view.summary(many()) == "1 up, 1 retrying, 1 blocked, 1 down, 1 on demand"
    assert view.summary(document()) == ""


def test_no_profiles_names_the_config() -> None:
    assert view.status_lines(document(), NOW_S) == [
        "no profiles yet; describe one in /home/me/.config/jtunnel/config.toml"
    ]


def test_problem_of_the_config_is_shown() -> None:
    for tunnels in ([], [tunnel()], [tunnel(), tunnel("b")]):
        lines = view.status_lines(document(*tunnels, config_problem=CONFIG), NOW_S)
        assert lines[-1] == "config: c.toml line 3: unknown key; did you mean host?"


def test_text_from_elsewhere_cannot_drive_the_terminal() -> None:
    evil: Problem = {"kind": "internal", "message": "\x1b]0;owned\x07", "advice": ""}
    for others in ([], [tunnel("b")]):
        status = tunnel(name="a\x1bb", host="\x1b[2J", problem=evil)
        assert all(
            line.isprintable() for line in view.status_lines(document(status, *others), NOW_S, width=120)
        )
