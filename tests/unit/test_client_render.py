"""One tunnel in words: states, troubles, addresses, progress."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jtunnel.client.terminal import printable
from jtunnel.client.views import render
from jtunnel.client.views.measures import moment
from jtunnel.status import Problem, TunnelStatus
from tests.support.scripted_daemon import forward, jupyter, tunnel

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


def test_a_forward_does_not_repeat_its_tunnels_problem() -> None:
    assert render.troubles(tunnel(problem=LOST, forwards=[forward(problem=LOST)]), NOW_S) == [
        "gpu-box has not answered for 15 s; check the network; jtunnel goes on trying"
    ]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (tunnel(state="connecting"), "connecting to gpu-box, 2 s…"),
        (tunnel(state="starting", jupyter=jupyter("searching", url=None)), "looking for Jupyter, 2 s…"),
        (tunnel(state="starting", jupyter=jupyter("searching")), "checking Jupyter, 2 s…"),
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
    assert render.progress(status, moment("2026-11-22T04:00:03Z")) == expected


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


def test_text_from_elsewhere_cannot_drive_the_terminal() -> None:
    assert printable("plain → text") == "plain → text"
    assert printable("two\nlines\x1b[2J\r\x07\u202e") == "two lines�[2J���"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (tunnel(), "up"),
        (tunnel(state="down", forwards=[forward(listening=False)]), "down"),
        (tunnel(state="down", autostart="on-demand", forwards=[forward()]), "on demand"),
        (tunnel(state="starting", jupyter=jupyter("searching", url=None)), "starting"),
        (tunnel(state="starting", jupyter=jupyter("searching")), "checking Jupyter"),
        (tunnel(state="retrying", jupyter=jupyter("searching")), "retrying"),
    ],
)
def test_state_words(status: TunnelStatus, expected: str) -> None:
    assert render.state_word(status) == expected


def test_places_are_addresses_or_those_over_there() -> None:
    back = forward("9000", kind="remote")
    assert render.places(tunnel(jupyter=None, forwards=[forward("5432"), back])) == ["127.0.0.1:5432"]
    assert render.places(tunnel(jupyter=None, forwards=[back])) == ["remote 127.0.0.1:9000"]
    assert render.places(tunnel(jupyter=None)) == []


def test_troubles_tell_the_next_try_as_it_is_now() -> None:
    lost = tunnel(state="retrying", problem=LOST, retry_at="2026-11-22T04:03:16.500Z")
    text = "gpu-box has not answered for 15 s; check the network; jtunnel goes on trying"
    assert render.troubles(lost, NOW_S) == [f"{text}; next try in 5 s"]
    assert render.troubles(lost, NOW_S + 4) == [f"{text}; next try in 1 s"]
    assert render.troubles(lost, NOW_S + 5) == [f"{text}; trying now"]
    assert render.troubles(tunnel(state="blocked", problem=LOST), NOW_S) == [text]


@pytest.mark.parametrize(
    ("listen", "exposed"),
    [
        ("127.0.0.1:8080", False),
        ("127.1.2.3:8080", False),
        ("[::1]:8080", False),
        ("localhost:8080", False),
        ("unix:/run/x.sock", False),
        ("0.0.0.0:8080", True),
        ("*:8080", True),
        ("[::]:8080", True),
        ("192.0.2.7:8080", True),
    ],
)
def test_forwards_that_other_machines_reach(listen: str, exposed: bool) -> None:
    assert bool(render.exposures(tunnel(forwards=[forward(listen=listen)]))) == exposed
    # Who reaches a port over there is for the server there to say.
    assert not render.exposures(tunnel(forwards=[forward(kind="remote", listen=listen)]))


def test_facts_of_a_tunnel() -> None:
    status = tunnel(
        port=2222,
        via=["bastion"],
        latency_ms=12.3,
        reconnects=1,
        forwards=[forward("jupyter", bytes_in=12_000), forward(bytes_in=345, bytes_out=1)],
    )
    assert render.facts(status) == (
        "me@gpu.example:2222 via bastion, round trip 12 ms, reconnected 1 time, 12 kB in, 1 B out"
    )
    assert render.facts(tunnel(state="down")) == ""
    assert render.facts(tunnel(state="retrying", host=None, user=None, jupyter=None)) == "gpu-box"
