"""What `status` says of a tunnel's remote server."""

from __future__ import annotations

from typing import Any

import pytest

from jtunnel.client.views import render, served, view
from jtunnel.client.views.measures import moment
from tests.support.scripted_daemon import document, forward, jupyter, service, tunnel

NOW_S = moment("2026-11-22T04:05:00Z")


def lines(**changes: Any) -> list[str]:
    return served.server_lines(tunnel(jupyter=jupyter(**changes)), NOW_S)


def test_all_that_is_known_of_a_jupyter() -> None:
    assert lines(
        kernels=3,
        busy=1,
        environment="/opt/conda/envs/torch",
        last_activity="2026-11-22T03:59:59.250Z",
        log="/home/me/.local/share/jtunnel/gpu@gpu.log",
    ) == [
        (
            "Jupyter 2.21.1 on gpu.example (pid 123), in /home/me, environment torch, 3 kernels, 1 busy, "
            "last used 5 min ago"
        ),
        "log /home/me/.local/share/jtunnel/gpu@gpu.log",
    ]


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({"kernels": 0, "busy": 0}, "in /home/me, 0 kernels"),
        ({"kernels": 1, "busy": 0}, "1 kernel, none busy"),
        ({"kernels": 2, "busy": None}, "2 kernels"),
        ({"kernels": None, "busy": None}, "in /home/me"),
        ({"kernels": None, "root_dir": None, "origin": "adopted"}, "(pid 123, adopted)"),
        ({"version": None, "host": None, "kernels": None}, "Jupyter (pid 123), in /home/me"),
    ],
)
def test_what_is_not_known_is_left_out(changes: dict[str, Any], end: str) -> None:
    (line,) = lines(**changes)
    assert line.endswith(end)


def test_what_to_know_before_using_it() -> None:
    found = lines(password=True, secure=True, kernels=None)
    assert found[1:] == [
        "it asks for its password; kernels unknown",
        "its certificate is its own: the browser asks once whether to trust it",
    ]
    assert served.remarks(tunnel()) == served.remarks(tunnel(jupyter=None)) == []


def test_an_older_daemon_says_less() -> None:
    old = tunnel()
    del old["service"]  # type: ignore[misc]
    assert old["jupyter"] is not None
    for name in ("busy", "environment", "log", "password", "secure"):
        del old["jupyter"][name]  # type: ignore[misc]
    shown = view.status_lines(document(old), NOW_S)
    assert shown[2:] == ["  Jupyter 2.21.1 on gpu.example (pid 123), in /home/me, 0 kernels"]
    del (bare := tunnel(jupyter=None))["service"]  # type: ignore[misc]
    assert len(view.status_lines(document(bare), NOW_S)) == 2


def test_nothing_of_a_server_that_is_not_there() -> None:
    assert lines(pid=None) == []
    assert served.server_lines(tunnel(state="down"), NOW_S) == []


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("/opt/conda/envs/torch", "torch"),
        ("/home/me/work/.venv", "work/.venv"),
        ("/home/me/venvs/x", "x"),
        ("/usr", "/usr"),
        ("/opt/conda", "/opt/conda"),
    ],
)
def test_the_name_of_an_environment(directory: str, name: str) -> None:
    assert served.environment_name(directory) == name


def test_another_service() -> None:
    shown = tunnel(
        jupyter=None, service=service(log="/home/me/x.log"), forwards=[forward("service"), forward()]
    )
    assert render.addresses(shown) == ["http://localhost:8080/"]
    found = view.status_lines(document(shown), NOW_S)
    assert found[0].endswith("http://localhost:8080/")
    assert found[2:4] == ["  server on gpu.example (pid 321) at 127.0.0.1:8080", "  log /home/me/x.log"]
    # Its own forward is its address, which stands above.
    assert [line.split()[0] for line in found[4:]] == ["6006"]
    searching = tunnel(state="starting", jupyter=None, service=service("searching", url=None))
    assert render.activity(searching) == "looking for its server"
    assert (
        render.activity(tunnel(state="starting", jupyter=None, service=service("searching"))) == "checking it"
    )
