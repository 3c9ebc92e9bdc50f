"""What people are told about connections that fail or are lost."""

from __future__ import annotations

import errno
import socket

import asyncssh
import pytest

from jtunnel.ssh import failures
from jtunnel.ssh.prompts import Question


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (None, "lost box"),
        (asyncssh.ConnectionLost("Connection lost"), "lost box: the host closed the connection"),
        (ConnectionResetError(errno.ECONNRESET, "x"), "lost box: the connection was reset"),
        (TimeoutError(errno.ETIMEDOUT, "x"), "lost box: the connection timed out"),
        (OSError(errno.EHOSTUNREACH, "x"), "lost box: no route to host"),
        (asyncssh.DisconnectError(2, "going\ndown"), "lost box: going down"),
        # What a stream over a jump host says; the jump host's own loss is told by its own message.
        (ConnectionResetError("the far side is gone"), "lost box"),
    ],
)
def test_a_loss_says_how_it_came(error: Exception | None, message: str) -> None:
    assert failures.lost("box", error).message == message


def test_a_loss_with_the_jump_host_names_it() -> None:
    assert failures.lost("box", None, "gate").message == "lost box: with its jump host gate"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (socket.EAI_NONAME, "the name box is not known"),
        (socket.EAI_AGAIN, "no name server answers for box"),
    ],
)
def test_a_name_that_is_not_found_is_tried_again(code: int, message: str) -> None:
    error = failures.name_failed("box", socket.gaierror(code, "x"))
    assert (error.kind, error.message) == ("host-unreachable", message)


@pytest.mark.parametrize(
    "error",
    [
        asyncssh.ConnectionLost("Connection lost"),
        ConnectionResetError(errno.ECONNRESET, "x"),
        BrokenPipeError(errno.EPIPE, "x"),
        asyncssh.DisconnectError(11, "go away"),
        TimeoutError(errno.ETIMEDOUT, "x"),
    ],
)
def test_a_hang_up_before_the_end_of_the_login_is_the_network(error: Exception) -> None:
    assert failures.login_failed("box", "me", "b", error, ["a key is missing"]).kind == "host-unreachable"


@pytest.mark.parametrize(
    "error",
    [
        asyncssh.PermissionDenied("no"),
        asyncssh.DisconnectError(2, "Too many authentication failures"),
    ],
)
def test_a_refusal_says_what_could_not_be_offered(error: Exception) -> None:
    refused = failures.login_failed("box", "me", "b", error, ["the key file /k is missing or unreadable"])
    assert refused.kind == "auth-failed"
    assert refused.message == "box refused the login of me; the key file /k is missing or unreadable"


def test_a_passphrase_that_is_wanted_names_its_file() -> None:
    error = failures.input_required("box", "me", Question("passphrase", "?", about="/k"), [])
    assert error.message == "the key /k needs its passphrase, to log in to box"
    error = failures.input_required("box", "me", Question("password", "?"), ["the key file /k is missing"])
    assert error.message == "box wants a password for me; the key file /k is missing"
