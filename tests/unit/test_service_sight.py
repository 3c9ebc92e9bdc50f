"""Whose process serves at a place, from what was seen there."""

from __future__ import annotations

import pytest

from jtunnel.address import TcpAddress
from jtunnel.config.profile import ServiceOptions
from jtunnel.service.server import NobodyListensError
from jtunnel.service.sight import Sight
from jtunnel.service.survey import Survey

OURS, SYSTEMS = 1001, 33
PORT = 9000
OPTIONS = ServiceOptions(port=PORT, start="never")


def sight(listeners: dict[tuple[str, int], int], *, holder: bool = True) -> Sight:
    survey = Survey(
        node="gpu",
        uid=OURS,
        log="",
        processes={7: ("1@boot", OURS)},
        listeners=listeners,
        sockets={},
        runtime_files=(),
        record=None,
        token="",
        roots=frozenset(),
        homes=frozenset(),
    )
    return Sight(survey, (7, "1@boot") if holder else None, None, "/", "")


def test_our_process_at_another_address_is_not_the_systems_service() -> None:
    """Else to stop the service would end it."""
    seen = sight({("127.0.0.1", PORT): SYSTEMS, ("0.0.0.0", PORT): OURS})
    server = seen.server(OPTIONS, None, "x")
    assert server is not None
    assert (server.target, server.pid) == (TcpAddress("127.0.0.1", PORT), 0)
    seen.check_same(server)


def test_a_system_account_at_the_port_of_our_own_process_is_somebody_else() -> None:
    server = sight({("127.0.0.1", PORT): OURS}).server(OPTIONS, None, "x")
    assert server is not None
    assert server.pid == 7
    with pytest.raises(NobodyListensError):
        sight({("127.0.0.1", PORT): SYSTEMS}, holder=False).check_same(server)
