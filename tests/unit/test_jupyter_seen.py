"""What is made of a node's facts: which processes are servers, whose they are, and when they started."""

from __future__ import annotations

import random

import pytest

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.errors import ConfigError
from jtunnel.jupyter.adopting import parse_which
from jtunnel.jupyter.seen import is_server
from jtunnel.service.process import Clock, Process
from jtunnel.service.record import parse_runtime_file


@pytest.mark.parametrize(
    ("words", "server"),
    [
        ("/opt/bin/python /opt/bin/jupyter-lab --no-browser", True),
        ("/opt/bin/python /opt/bin/jupyter lab", True),
        ("python3 -m jupyterlab", True),
        ("python3 -m jupyter notebook", True),
        ("python -m notebook", True),
        ("python -m jupyter_server.serverapp", True),
        ("python -m jupyterhub.singleuser", True),
        ("/x/python /x/jupyterhub-singleuser", True),
        ("/x/ipython notebook", True),
        ("/x/python /x/jupyter-console", False),
        ("vim jupyter.py", False),
        ("python3 notebook.py", False),
        ("tail -f jupyter-lab.log", False),
        ("python -m pip install jupyterlab", False),
        ("", False),
    ],
)
def test_which_words_are_a_servers(words: str, server: bool) -> None:
    assert is_server(words.split(" ")) is server


@pytest.mark.parametrize(
    ("output", "key"),
    [
        ("/home/me/.local/share/jtunnel/gpu@n1.log", "gpu"),
        ("/home/me/.local/share/jtunnel/gpu@n1.log.1", "gpu"),
        ("/home/me/.local/share/jtunnel/gpu@n1.log.1 (deleted)", "gpu"),
        ("/home/me/gpu@n1.log", ""),
        ("/home/me/nohup.out", ""),
    ],
)
def test_for_whom_jtunnel_started_it(output: str, key: str) -> None:
    assert Process(output=output).started_for == key


def test_ticks_and_the_words_of_ps_become_times() -> None:
    clock = Clock(now_s=1_000_000.0, ticks=5000, ticks_a_second=100)
    assert clock.time_of("4000@boot") == 999_990.0
    assert clock.time_of("Sun_Nov_22_06:47:00_2026") == 1_795_330_020.0
    assert clock.time_of("nonsense") is None
    assert Clock(1.0, None, 100).time_of("4000@boot") is None


@pytest.mark.parametrize(
    ("address", "base_url", "token"),
    [
        ("http://localhost:9999", "/", ""),
        ("http://localhost:9999/?token=abc", "/", "abc"),
        ("http://n1:9999/hub/me/lab/tree/a.ipynb?token=abc&reset", "/hub/me/", "abc"),
        ("https://127.0.0.1:9999/tree#x", "/", ""),
    ],
)
def test_an_address_is_read(address: str, base_url: str, token: str) -> None:
    named = parse_which(address)
    assert named.target == TcpAddress("127.0.0.1", 9999)
    assert (named.base_url, named.token) == (base_url, token)
    assert named.secure is address.startswith("https")


def test_a_number_and_a_socket_are_read() -> None:
    assert parse_which("4711").number == 4711
    assert parse_which("http+unix://%2Ftmp%2Fa.sock/").target == UnixAddress("/tmp/a.sock")


@pytest.mark.parametrize(
    "which",
    [
        "9" * 5000,
        "http+unix://%2Ftmp%0Ax",
        "",
        "-1",
        "1.5",
        "x:y",
        "http://",
        "http://h:99999/",
        "http://h/\x1b[2J",
        "\x00",
    ],
)
def test_what_names_nothing(which: str) -> None:
    with pytest.raises(ConfigError):
        parse_which(which)


def test_no_garbage_in_a_runtime_file_raises() -> None:
    """Bits turned, cut off, put twice: it is a file that another program writes while we read."""
    chance = random.Random(7)
    whole = b'{"base_url": "/", "port": 8888, "pid": 7, "sock": "", "token": "t", "secure": false}'
    assert parse_runtime_file(7, "1@b", "jp", whole) is not None
    assert parse_runtime_file(8, "1@b", "jp", whole) is None
    values = [b"null", b"[]", b"{}", b"1e999", b"-1", b'"\\u001b"', b"1" * 5000, b"true", b"[" * 3000]
    for _ in range(3000):
        data = bytearray(whole[: chance.randrange(len(whole) + 1)])
        for _ in range(chance.randrange(3)):
            at = chance.randrange(len(data) + 1)
            data[at : at + chance.randrange(8)] = chance.choice([*values, chance.randbytes(3)])
        found = parse_runtime_file(7, "1@b", "jp", bytes(data))
        assert found is None or (0 <= found.port < 65536 and found.sock.isprintable())
