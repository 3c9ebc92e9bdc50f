"""The network goes away under a tunnel and comes back: carrier, addresses, routes, silence, a forgetful NAT.

All outages of this file run at the same time, each in a lab of its own; a test looks at the outcome of one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial

import pytest

from tests.support.accounts import new_account
from tests.support.keys import Key
from tests.support.lab.checks import (
    AFTER_SIGN_S,
    AFTER_SILENCE_S,
    OLD_STREAMS_S,
    SOON_S,
    WITHOUT_SIGN_S,
    check_reset,
    check_served,
    check_survives,
    check_told,
)
from tests.support.lab.outage import FAULTS, Fault, await_recovery
from tests.support.lab.side_by_side import Scenario, run_chosen
from tests.support.lab.tunnel import PATIENCE_S, Access, open_tunnel

pytestmark = [pytest.mark.root, pytest.mark.long]


def link_down(fault: str, seconds: float, access: Access) -> str:
    """The carrier goes, perhaps the address too, and comes back."""
    with open_tunnel(access) as tunnel, tunnel.talk() as talk:
        talk.wait_heard()
        recovery = tunnel.suffer(FAULTS[fault], seconds)
        check_served(recovery, SOON_S)
        check_told(tunnel, recovery)
        if fault in {"another address", "another route"}:
            check_reset(talk, 3.0, recovery.began_at)
        elif seconds > 15:
            check_reset(talk, 22.0, recovery.began_at)
        else:
            check_survives(talk)
        return f"{recovery}; the stream: {talk}"


def ten_minutes(fault: str, access: Access) -> str:
    """The same for ten minutes, of which the daemon's clocks know."""
    with open_tunnel(access, clock=True) as tunnel, tunnel.talk() as talk:
        clock = tunnel.clock
        assert clock is not None
        talk.wait_heard()

        def begin(site: object) -> None:
            FAULTS[fault].begin(tunnel.site)
            time.sleep(5)
            clock.pass_time(595)

        recovery = tunnel.suffer(Fault(begin, FAULTS[fault].end), 10)
        # Who came first was held for its 300 s, and reset.
        check_served(recovery, SOON_S)
        check_told(tunnel, recovery, reconnects=1)
        check_reset(talk, 10.0, recovery.began_at)
        return f"{recovery}; the stream: {talk}"


def silence(fault: str, seconds: float, access: Access) -> str:
    """Far away packets vanish, which nobody here is told."""
    with open_tunnel(access) as tunnel, tunnel.talk() as talk:
        talk.wait_heard()
        recovery = tunnel.suffer(FAULTS[fault], seconds)
        check_served(recovery, AFTER_SILENCE_S)
        if seconds <= 10:
            # What TCP survives, we do.
            check_survives(talk)
        elif seconds >= 40:
            check_told(tunnel, recovery, reconnects=1)
            check_reset(talk, 35.0, recovery.began_at)
        else:
            check_told(tunnel, recovery)
            assert talk.ending in {None, "reset"}, str(talk)
        return f"{recovery}; the stream: {talk}"


def bad_line(access: Access) -> str:
    """Half a minute of a line that loses three packets of ten each way and takes 200 ms there and back."""
    with open_tunnel(access, slow=True) as tunnel:
        wire = tunnel.site.network.slow
        assert wire is not None
        wire.delay_s = 0.1
        logins = tunnel.site.sshd.logins

        def begin(site: object) -> None:
            wire.loss = 0.3

        def end(site: object) -> None:
            wire.loss = 0.0

        recovery = tunnel.suffer(Fault(begin, end), 30)
        check_served(recovery, AFTER_SILENCE_S)
        made = tunnel.site.sshd.logins - logins
        # A bad line is no reason to log in again and again.
        assert made <= 6
        return f"{recovery}; {made} new logins"


def forgotten(access: Access) -> str:
    """The NAT router forgets the connection; nobody is told and nothing else is wrong. Requests come."""
    with open_tunnel(access) as tunnel, tunnel.talk() as talk:
        talk.wait_heard()
        recovery = tunnel.suffer(FAULTS["NAT forgotten"], 0)
        check_served(recovery, WITHOUT_SIGN_S)
        check_told(tunnel, recovery, reconnects=1)
        check_reset(talk, WITHOUT_SIGN_S + OLD_STREAMS_S, recovery.began_at)
        return f"{recovery}; the stream: {talk}"


def forgotten_at_rest(access: Access) -> str:
    """The same while nobody uses the tunnel: only our own questions can tell."""
    with open_tunnel(access) as tunnel:
        began_at = time.monotonic()
        FAULTS["NAT forgotten"].begin(tunnel.site)
        found_at = tunnel.story.wait_for(lambda told: told["state"] == "retrying", PATIENCE_S, began_at)
        assert found_at is not None, tunnel.story.now
        back_at = tunnel.story.wait_for(lambda told: told["state"] == "up", PATIENCE_S, found_at)
        assert back_at is not None, tunnel.story.now
        with tunnel.traffic() as traffic:
            recovery = await_recovery(traffic, began_at, time.monotonic(), PATIENCE_S)
        check_served(recovery, SOON_S)
        assert back_at - began_at <= WITHOUT_SIGN_S
        return f"found after {found_at - began_at:.1f} s, up after {back_at - began_at:.1f} s"


def forgotten_then_gain(access: Access) -> str:
    """The same, and then a second network appears: reason enough to ask at once."""
    with open_tunnel(access) as tunnel:

        def begin(site: object) -> None:
            tunnel.site.network.home.router.forget()
            tunnel.site.network.cafe.plug()

        recovery = tunnel.suffer(Fault(begin), 0)
        check_served(recovery, AFTER_SIGN_S)
        check_told(tunnel, recovery, reconnects=1)
        return str(recovery)


SCENARIOS: Mapping[str, Scenario] = {
    "silent drop, 60 s": partial(silence, "silent drop", 60),
    "link down, 30 s": partial(link_down, "link down", 30),
    "another address, 30 s": partial(link_down, "another address", 30),
    "another route, 30 s": partial(link_down, "another route", 30),
    "30 % loss, 200 ms": bad_line,
    "silent drop, 20 s": partial(silence, "silent drop", 20),
    "one-way drop, 20 s": partial(silence, "one-way drop", 20),
    "silent drop, 10 s": partial(silence, "silent drop", 10),
    "NAT forgotten": forgotten,
    "NAT forgotten at rest": forgotten_at_rest,
    "NAT forgotten, then a gain": forgotten_then_gain,
    "link down, 10 min": partial(ten_minutes, "link down"),
    "another address, 10 min": partial(ten_minutes, "another address"),
    "another route, 10 min": partial(ten_minutes, "another route"),
    "link down, 5 s": partial(link_down, "link down", 5),
    "interface off, 5 s": partial(link_down, "interface off", 5),
    "another address, 5 s": partial(link_down, "another address", 5),
    "another route, 5 s": partial(link_down, "another route", 5),
}


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, host_key: Key, client_key: Key) -> Mapping[str, Future[str]]:
    """What became of each scenario that this run has chosen."""
    with new_account() as account:
        return run_chosen(request, SCENARIOS, Access(account, client_key, host_key))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_outage(
    scenario: str, outcomes: Mapping[str, Future[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    measured = outcomes[scenario].result()
    with capsys.disabled():
        print(f"\n{scenario}: {measured}")
