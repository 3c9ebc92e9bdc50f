"""What every outage has to keep, whatever was wrong: who asked was served, and the status told the truth."""

from __future__ import annotations

import re
import time
from typing import Final

from tests.support.lab.outage import Recovery
from tests.support.lab.talk import Talk
from tests.support.lab.tunnel import NAME, Tunnel

#: Bounds in seconds from the moment the network works again. The aims are lower, and are medians.
SOON_S: Final = 3.0
AFTER_SILENCE_S: Final = 9.0
#: A connection that only the far side has lost: found after a sign (wake, a gained network), and without any.
AFTER_SIGN_S: Final = 6.0
WITHOUT_SIGN_S: Final = 24.0
#: How long an old connection may go on for its streams when another has taken over, and some more.
OLD_STREAMS_S: Final = 10.0
_TOLD_WITHIN_S: Final = 10.0


def check_served(recovery: Recovery, within_s: float) -> None:
    """It was usable in time, nobody was refused, and each request was answered or reset."""
    assert recovery.counts["refused"] == 0, str(recovery)
    assert recovery.counts["closed"] == 0, str(recovery)
    assert recovery.hanging == [], str(recovery)
    assert recovery.usable_s <= within_s, str(recovery)


def check_told(tunnel: Tunnel, recovery: Recovery, *, reconnects: int | None = None) -> None:
    """The status said `retrying` and why, listened all the time, and in the end said that it is over."""
    story = tunnel.story
    lost_at = story.wait_for(lambda told: told["state"] == "retrying", _TOLD_WITHIN_S, recovery.began_at)
    assert lost_at is not None, story.states(recovery.began_at)
    back_at = story.wait_for(
        lambda told: told["state"] == "up" and told["problem"] is None,
        _TOLD_WITHIN_S,
        max(lost_at, recovery.returned_at),
    )
    assert back_at is not None, story.now
    told = story.since(recovery.began_at)
    # Nothing else than these: nobody was needed, and nothing was given up.
    assert {status["state"] for _, status in told} <= {"up", "retrying", "connecting"}, told
    away = [status for at, status in told if at < back_at and status["state"] == "retrying"]
    for status in away:
        assert status["problem"] is not None, status
        assert status["problem"]["kind"] in {"connection-lost", "host-unreachable"}, status
        assert status["problem"]["message"], status
        assert status["problem"]["advice"], status
        assert status["wanted"], status
        assert all(forward["listening"] for forward in status["forwards"]), status
    now = story.now
    assert (now["attempt"], now["retry_at"]) == (0, None), now
    if reconnects is not None:
        assert now["reconnects"] == reconnects, now
    _check_log(tunnel, recovery)


def _check_log(tunnel: Tunnel, recovery: Recovery) -> None:
    """`jtunnel logs NAME` tells it as a dated story: lost and why, back after how long, how many waited."""
    log = tunnel.jtunnel.check("logs", NAME)
    (lost, *_) = re.findall(r"^\S+Z \w+ +.*\bretrying: (.+)$", log, re.MULTILINE) or [""]
    assert lost, log
    back = re.findall(r"^\S+Z \w+ +.*\bup again after (.+)$", log, re.MULTILINE)
    assert back, log
    if recovery.held > 1:
        served = re.search(r"(\d+) waiting connections? served", back[-1])
        assert served, log
        assert int(served[1]) > 0, log


def check_survives(talk: Talk) -> None:
    """The stream goes on where it was, and nothing in it was lost."""
    talk.wait_heard(OLD_STREAMS_S)
    assert talk.ending is None, str(talk)
    assert talk.is_whole, str(talk)


def check_reset(talk: Talk, within_s: float, since: float) -> None:
    """The stream was reset, not ended in order, so many seconds after `since` at the latest."""
    talk.wait_for(lambda talk: talk.ending is not None, max(1.0, since + within_s - time.monotonic()))
    assert talk.ending == "reset", str(talk)
    assert talk.ended_at is not None
    assert talk.ended_at - since <= within_s, f"after {talk.ended_at - since:.1f} s"
