"""Why a server ended, from its log."""

from __future__ import annotations

import pytest

from jtunnel.service.log import decode_log, reason

NOISE = "[I 2026-11-22 07:00:00.123 ServerApp] jupyterlab | extension was successfully linked.\n"


@pytest.mark.parametrize(
    ("log", "why"),
    [
        ("", ""),
        (
            NOISE + "[C 2026-11-22 07:00:01.000 ServerApp] Bad config: no such port\n" + NOISE,
            "Bad config: no such port",
        ),
        (
            NOISE
            + "Traceback (most recent call):\n  File x\nModuleNotFoundError: No module named 'tornado'\n",
            "ModuleNotFoundError: No module named 'tornado'",
        ),
        (
            "nohup: failed to run command 'x': No such file\n",
            "nohup: failed to run command 'x': No such file",
        ),
        ("Killed\n", "Killed"),
        ("[E 2026-11-22 07:00:01.000 ServerApp]\n" + NOISE, NOISE.strip()),
    ],
)
def test_reason(log: str, why: str) -> None:
    assert reason(log) == why


def test_a_reason_is_one_short_line() -> None:
    assert len(reason("x" * 10_000)) <= 300


def test_nothing_in_a_log_steers_a_terminal() -> None:
    text = decode_log(b"\x1b[1;31m[E 1 ServerApp]\x1b[0m bad\tluck\r\n\x1b]0;title\x07 \xc2\x9b2J x\n")
    assert text == "[E 1 ServerApp] bad\tluck \n ]0;title   2J x\n"
    assert reason(text.splitlines()[0]) == "bad\tluck"


def test_a_token_in_a_log_is_left_out() -> None:
    text = decode_log(b"http://localhost:8888/lab?token=0123abcd\n or http://h/?token=9f9f&x=1\n\xff")
    assert "'token': '...'" in decode_log(b"Config changed: {'IdentityProvider': {'token': '0123abcd'}}")
    assert "0123abcd" not in text
    assert "9f9f" not in text
    assert "token=...&x=1" in text
    assert decode_log(None) == ""
