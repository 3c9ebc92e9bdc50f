"""The laptop sleeps and wakes: a daemon that did not run for a while, and clocks that say so.

All of these run at the same time, each in a lab of its own; a test looks at the outcome of one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial

import pytest

from tests.support.accounts import new_account
from tests.support.keys import Key
from tests.support.lab.checks import (
    AFTER_SIGN_S,
    SOON_S,
    check_reset,
    check_served,
    check_survives,
    check_told,
)
from tests.support.lab.outage import FAULTS, Fault, frozen
from tests.support.lab.side_by_side import Scenario, run_chosen
from tests.support.lab.site import Site
from tests.support.lab.tunnel import Access, Tunnel, open_tunnel

pytestmark = [pytest.mark.root, pytest.mark.long]

#: How long a tick of the daemon may be away from the moment that the clocks jump.
TICK_S = 2.5


def asleep(tunnel: Tunnel, meanwhile: Callable[[Site], None]) -> Fault:
    """The daemon stops; then something happens to the network, which works when the daemon goes on."""
    sleeping = ExitStack()

    def begin(site: Site) -> None:
        sleeping.enter_context(frozen(tunnel.jtunnel.process()))
        meanwhile(site)

    def end(site: Site) -> None:
        sleeping.close()

    return Fault(begin, end)


def change_network(fault: str, site: Site) -> None:
    """Let a fault come and go while nobody looks."""
    FAULTS[fault].begin(site)
    FAULTS[fault].end(site)


def sleep_and_move(fault: str, seconds: float, access: Access) -> str:
    """The lid is closed here and opened there."""
    with open_tunnel(access) as tunnel, tunnel.talk() as talk:
        talk.wait_heard()
        recovery = tunnel.suffer(asleep(tunnel, partial(change_network, fault)), seconds)
        check_served(recovery, AFTER_SIGN_S if fault == "NAT forgotten" else SOON_S)
        check_told(tunnel, recovery, reconnects=1)
        check_reset(talk, 15.0, recovery.returned_at)
        return f"{recovery}; the stream: {talk}"


def sleep_and_stay(access: Access) -> str:
    """Nothing has happened to the connection meanwhile: it is asked, it answers, nothing is lost."""
    with open_tunnel(access) as tunnel, tunnel.talk() as talk:
        talk.wait_heard()
        recovery = tunnel.suffer(asleep(tunnel, lambda site: None), 20)
        check_served(recovery, SOON_S)
        check_survives(talk)
        assert tunnel.story.now["reconnects"] == 0
        assert tunnel.site.sshd.logins <= 2
        return f"{recovery}; the stream: {talk}"


def jump_half_open(access: Access) -> str:
    """The clocks say that it slept for ten minutes, in which the NAT router forgot the connection."""
    with open_tunnel(access, clock=True) as tunnel, tunnel.talk() as talk:
        clock = tunnel.clock
        assert clock is not None
        talk.wait_heard()

        def begin(site: Site) -> None:
            FAULTS["NAT forgotten"].begin(site)
            clock.sleep(600)

        recovery = tunnel.suffer(Fault(begin), 0)
        check_served(recovery, AFTER_SIGN_S + TICK_S)
        check_told(tunnel, recovery, reconnects=1)
        check_reset(talk, 20.0, recovery.returned_at)
        return f"{recovery}; the stream: {talk}"


def dark_wakes(access: Access) -> str:
    """Asleep for a minute, awake for a moment, again and again, and the connection is fine."""
    with open_tunnel(access, clock=True) as tunnel, tunnel.talk() as talk:
        clock = tunnel.clock
        assert clock is not None
        talk.wait_heard()

        def begin(site: Site) -> None:
            for _ in range(5):
                clock.sleep(60)
                time.sleep(3)

        recovery = tunnel.suffer(Fault(begin), 15)
        check_served(recovery, SOON_S)
        check_survives(talk)
        assert tunnel.story.now["reconnects"] == 0
        assert tunnel.site.sshd.logins <= 2
        return f"{recovery}; {tunnel.site.sshd.logins} logins; the stream: {talk}"


SCENARIOS: Mapping[str, Scenario] = {
    "asleep for 60 s, another address": partial(sleep_and_move, "another address", 60),
    "asleep for 60 s, another route": partial(sleep_and_move, "another route", 60),
    "asleep for 60 s, NAT forgotten": partial(sleep_and_move, "NAT forgotten", 60),
    "asleep for 20 s, nothing changed": sleep_and_stay,
    "clocks jump, NAT forgotten": jump_half_open,
    "dark wakes": dark_wakes,
}


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, host_key: Key, client_key: Key) -> Mapping[str, Future[str]]:
    """What became of each scenario that this run has chosen."""
    with new_account() as account:
        return run_chosen(request, SCENARIOS, Access(account, client_key, host_key))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_wake(scenario: str, outcomes: Mapping[str, Future[str]], capsys: pytest.CaptureFixture[str]) -> None:
    measured = outcomes[scenario].result()
    with capsys.disabled():
        print(f"\n{scenario}: {measured}")
