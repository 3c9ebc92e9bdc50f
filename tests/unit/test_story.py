"""The log of a tunnel: each change once, and at the end of an outage what it cost."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from jtunnel.errors import LinkError
from jtunnel.status import State
from jtunnel.tunnel.story import Story

LOST = LinkError("connection-lost", "gpu-box has not answered for 12 s")
REFUSED = LinkError("host-unreachable", "gpu-box refuses connections", "check the network")
BEGIN = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


@dataclass
class Count:
    """What a story asks for: how many that waited were served, how many open connections were cut."""

    served: int = 0
    cut: int = 0

    def __call__(self) -> tuple[int, int]:
        return self.served, self.cut


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return lines


def test_an_outage_is_told_from_its_cause_to_its_cost(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    count = Count()
    story = Story("gpu", count)
    seconds = 0.0

    def tell(state: State, error: LinkError | None, after_s: float) -> list[str]:
        nonlocal seconds
        seconds += after_s
        story.tell(state, error, BEGIN + timedelta(seconds=seconds))
        return told(caplog)

    assert tell("connecting", None, 0) == ["connecting"]
    assert tell("up", None, 1) == ["up"]
    assert tell("up", None, 1) == []
    assert tell("retrying", LOST, 60) == ["retrying: gpu-box has not answered for 12 s"]
    assert tell("retrying", LOST, 1) == []
    assert tell("retrying", REFUSED, 1) == ["retrying: gpu-box refuses connections; check the network"]
    assert tell("connecting", None, 20) == ["connecting"]
    count.served, count.cut = 3, 1
    assert tell("up", None, 1) == [
        "up again after 23 s, 3 waiting connections served, 1 open connection reset"
    ]
    assert tell("retrying", LOST, 9) == ["retrying: gpu-box has not answered for 12 s"]
    assert tell("up", None, 0.44) == ["up again after 0.4 s, no open connection reset"]
    assert tell("retrying", LOST, 9) != []
    assert tell("up", None, 7805) == ["up again after 2 h 10 min, no open connection reset"]
    assert tell("down", None, 1) == ["down"]
    assert tell("up", None, 1) == ["up"]
