"""Which phase may follow which, and the state that a person sees: all combinations."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import cast

import pytest

from jtunnel.errors import JTunnelError, LinkError, ServerError
from jtunnel.link import phase as link
from jtunnel.ssh.connection import Connection
from jtunnel.tunnel import phase as tunnel

ERROR = LinkError("connection-lost", "lost gpu-box")
CONNECTION = cast("Connection", object())
WAITING = link.Waiting(1, ERROR, datetime(2026, 11, 22, tzinfo=UTC))
LINK_PHASES: list[link.Phase | None] = [
    None,
    link.Idle(),
    link.Dialling(0, None),
    link.Dialling(2, ERROR),
    link.Serving(CONNECTION),
    link.Suspected(CONNECTION, ERROR, 1, None),
    WAITING,
    link.Blocked(ERROR),
]
GONE = ServerError("server-gone", "the server is gone")
TUNNEL_PHASES: list[tunnel.Phase] = [
    tunnel.Down(),
    tunnel.Linking(),
    tunnel.Searching(),
    tunnel.Starting("starting"),
    tunnel.Proving(),
    tunnel.Up(),
    tunnel.Stopped(GONE),
]


@pytest.mark.parametrize(
    ("phase", "link_phase", "state", "error"),
    [
        (tunnel.Down(), None, "down", None),
        (tunnel.Linking(), None, "connecting", None),
        (tunnel.Linking(), link.Dialling(0, None), "connecting", None),
        (tunnel.Linking(), link.Serving(CONNECTION), "connecting", None),
        (tunnel.Proving(), link.Serving(CONNECTION), "connecting", None),
        (tunnel.Searching(), link.Serving(CONNECTION), "starting", None),
        (tunnel.Starting("starting"), link.Serving(CONNECTION), "starting", None),
        (tunnel.Up(), link.Serving(CONNECTION), "up", None),
        (tunnel.Up(), WAITING, "retrying", ERROR),
        (tunnel.Up(), link.Suspected(CONNECTION, ERROR, 2, None), "retrying", ERROR),
        (tunnel.Linking(), link.Dialling(3, ERROR), "retrying", ERROR),
        (tunnel.Linking(), link.Blocked(ERROR), "blocked", ERROR),
        (tunnel.Stopped(GONE), link.Serving(CONNECTION), "blocked", GONE),
    ],
)
def test_the_state_follows_from_both_phases(
    phase: tunnel.Phase, link_phase: link.Phase | None, state: str, error: JTunnelError | None
) -> None:
    assert tunnel.derive_state(phase, link_phase) == (state, error)


def test_a_setback_is_shown_while_the_server_is_looked_for() -> None:
    """Over a connection that answers, what went wrong there last is the problem until it is up."""
    serving = link.Serving(CONNECTION)
    assert tunnel.derive_state(tunnel.Searching(), serving, None, GONE) == ("retrying", GONE)
    assert tunnel.derive_state(tunnel.Up(), serving, None, GONE) == ("up", None)
    assert tunnel.derive_state(tunnel.Searching(), WAITING, None, GONE) == ("retrying", ERROR)


@pytest.mark.parametrize(("phase", "link_phase"), list(itertools.product(TUNNEL_PHASES, LINK_PHASES)))
def test_up_is_shown_only_with_a_live_link_and_a_proof(
    phase: tunnel.Phase, link_phase: link.Phase | None
) -> None:
    state, error = tunnel.derive_state(phase, link_phase)
    if state == "up":
        assert isinstance(phase, tunnel.Up)
        assert isinstance(link_phase, link.Serving)
    assert (error is not None) == (state in ("retrying", "blocked"))


def test_impossible_steps_of_a_tunnel_raise() -> None:
    with pytest.raises(RuntimeError, match="from Down to Up"):
        tunnel.check_step(tunnel.Down(), tunnel.Up())
    tunnel.check_step(tunnel.Proving(), tunnel.Up())


def test_impossible_steps_of_a_link_raise() -> None:
    with pytest.raises(RuntimeError, match="from Idle to Serving"):
        link.check_step(link.Idle(), link.Serving(CONNECTION))
    with pytest.raises(RuntimeError, match="from Waiting to Suspected"):
        link.check_step(WAITING, link.Suspected(CONNECTION, ERROR, 1, None))
    link.check_step(link.Suspected(CONNECTION, ERROR, 1, None), link.Serving(CONNECTION))
    link.check_step(link.Dialling(0, None), link.Serving(CONNECTION))
