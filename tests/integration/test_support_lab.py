"""The outage lab itself: each fault does to plain TCP, UDP and names what it says, and leaves nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest

from tests.support.lab.beacon import Beacon
from tests.support.lab.network import SERVER_ADDRESS, SERVER_NAME, Network, open_network
from tests.support.lab.talk import Talk, TalkServer

pytestmark = [pytest.mark.root, pytest.mark.long]

#: Long enough for a dozen datagrams, short enough for TCP to try again soon.
SHORT_S = 0.4


class Lab:
    """A network with a conversation and a beacon between laptop and server."""

    def __init__(self, stack: ExitStack, *, slow: bool = False) -> None:
        self._stack = stack
        self.network = stack.enter_context(open_network(slow=slow))
        self.server = stack.enter_context(TalkServer(self.network.server))
        self.beacon = stack.enter_context(Beacon(self.network.laptop, self.network.server, SERVER_ADDRESS))
        self.router = self.network.home.router

    def talk(self) -> Talk:
        """A conversation without any tunnel; something was heard in it."""
        talk = self._stack.enter_context(Talk(self.network.laptop, SERVER_ADDRESS, self.server.port))
        talk.wait_heard()
        return talk


@pytest.fixture
def lab() -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(stack)


def addresses(network: Network) -> str:
    return network.laptop.run("ip", "-brief", "-4", "address")


def test_machines_reach_each_other_only_through_their_routers(lab: Lab) -> None:
    talk = lab.talk()
    assert talk.is_whole
    # The server sees the router, not the laptop.
    seen = lab.network.server.run("ss", "-Htn", "state", "established", f"sport = :{lab.server.port}")
    assert "198.51.100.2" in seen
    assert "192.168.1." not in seen
    with pytest.raises(OSError, match="unreachable"):
        lab.network.server.dial("192.168.1.100", 22, timeout_s=1)


def test_nothing_outside_changes_and_nothing_stays() -> None:
    def outside() -> tuple[object, ...]:
        links = sorted(psutil.net_if_addrs())
        with open("/proc/self/mountinfo") as mounts, open("/proc/net/route") as routes:
            return links, mounts.read(), routes.read(), os.getcwd(), len(os.listdir("/proc/self/fd"))

    before = outside()
    with ExitStack() as stack:
        lab = Lab(stack, slow=True)
        lab.talk()
        lab.router.drop()
        descriptor = lab.network.laptop.path
        assert os.path.exists(descriptor)
    assert outside() == before


def test_a_link_without_carrier_keeps_its_address_and_comes_back(lab: Lab) -> None:
    talk = lab.talk()
    lab.network.home.unplug()
    assert "DOWN" in lab.network.laptop.run("ip", "-brief", "link", "show", "wifi0")
    assert "192.168.1.100" in addresses(lab.network)
    assert lab.network.laptop.run("cat", "/sys/class/net/wifi0/carrier") == "0\n"
    assert not lab.beacon.works_within(SHORT_S)
    lab.network.home.plug()
    assert lab.beacon.wait_works() > 0
    talk.wait_heard()
    assert talk.is_whole


def test_an_interface_switched_off_loses_its_routes(lab: Lab) -> None:
    talk = lab.talk()
    lab.network.home.disable()
    assert lab.network.laptop.run("ip", "-4", "route") == ""
    assert not lab.beacon.works_within(SHORT_S)
    lab.network.home.enable()
    assert not lab.beacon.works_within(SHORT_S)
    lab.network.home.lease()
    lab.beacon.wait_works()
    talk.wait_heard()


def test_another_address_leaves_old_streams_dead_and_new_ones_fine(lab: Lab) -> None:
    talk = lab.talk()
    lab.network.home.release()
    lab.network.home.renumber()
    lab.network.home.lease()
    lab.beacon.wait_works()
    assert "192.168.1.101" in addresses(lab.network)
    words = len(talk.words)
    lab.talk()
    assert len(talk.words) == words
    assert talk.ending is None


def test_another_default_route_leads_through_the_other_router(lab: Lab) -> None:
    lab.talk()
    lab.network.home.unplug()
    lab.network.home.release()
    lab.network.cafe.plug()
    lab.network.cafe.lease()
    lab.beacon.wait_works()
    lab.talk()
    seen = lab.network.server.run("ss", "-Htn", "state", "established", f"sport = :{lab.server.port}")
    assert "203.0.113.2" in seen


def test_a_silent_drop_tells_nobody_and_ends(lab: Lab) -> None:
    talk = lab.talk()
    lab.router.drop()
    assert not lab.beacon.works_within(SHORT_S)
    with pytest.raises(TimeoutError):
        lab.network.laptop.dial(SERVER_ADDRESS, lab.server.port, timeout_s=SHORT_S)
    lab.router.heal()
    lab.beacon.wait_works()
    talk.wait_heard()
    assert talk.is_whole
    assert talk.longest_silence_s >= 2 * SHORT_S


def half_open(lab: Lab) -> bool:
    """Whether the server has heard of a new stream whose beginner has not heard from the server."""
    with lab.network.laptop.open_socket() as stream:
        stream.settimeout(SHORT_S)
        with pytest.raises(TimeoutError):
            stream.connect((SERVER_ADDRESS, lab.server.port))
        return bool(lab.network.server.run("ss", "-Htn", "state", "syn-recv"))


def test_one_way_drops(lab: Lab) -> None:
    talk = lab.talk()
    lab.router.drop("out")
    assert not half_open(lab)
    lab.router.drop("in")
    assert half_open(lab)
    lab.router.heal()
    talk.wait_heard()
    assert talk.is_whole


@pytest.mark.parametrize(("turn_away", "error"), [("reject", "unreachable|No route"), ("reset", "refused")])
def test_a_router_that_turns_new_streams_away(lab: Lab, turn_away: str, error: str) -> None:
    getattr(lab.router, turn_away)()
    with pytest.raises(OSError, match=error):
        lab.network.laptop.dial(SERVER_ADDRESS, lab.server.port, timeout_s=5)
    lab.router.heal()
    lab.talk()


def test_a_router_that_forgot_its_flows_is_silent_to_old_streams_and_serves_new_ones(lab: Lab) -> None:
    old = lab.talk()
    for _ in range(3):  # also an empty table can be forgotten
        lab.router.forget()
    new = lab.talk()
    words = len(old.words)
    new.wait_heard()
    assert len(old.words) == words
    assert old.ending is None
    assert new.is_whole


def test_a_lossy_and_slow_wire(lab: Lab) -> None:
    with ExitStack() as stack:
        slow = Lab(stack, slow=True)
        wire = slow.network.slow
        assert wire is not None
        wire.delay_s = 0.1
        sent_at = time.monotonic()
        assert slow.beacon.wait_works(sent_at) - sent_at >= 0.2
        talk = slow.talk()
        wire.loss = 1.0
        assert not slow.beacon.works_within(SHORT_S + 0.2)
        wire.loss = 0.3
        talk.wait_heard(20)
        assert talk.is_whole
    lab.router.lose(50)
    lab.beacon.wait_works()


def look_up(network: Network) -> str:
    """What a program on the laptop makes of the server's name: getent's output and exit code."""
    return network.laptop.run("sh", "-c", f"timeout 1 getent ahostsv4 {SERVER_NAME}; echo $?")


def test_names_that_fail_and_come_back(lab: Lab) -> None:
    names = lab.network.names
    assert SERVER_ADDRESS in look_up(lab.network)
    asked = names.asked
    names.mode = "no-such-name"
    assert look_up(lab.network) == "2\n"
    names.mode = "fails"
    assert look_up(lab.network) == "2\n"
    names.mode = "mute"
    assert look_up(lab.network) == "124\n"
    names.mode = "answers"
    assert SERVER_ADDRESS in look_up(lab.network)
    assert names.asked > asked
    # Only the lab's own names are known here.
    assert lab.network.laptop.run("sh", "-c", "getent ahostsv4 example.com; echo $?") == "2\n"


def test_a_conversation_notes_how_it_ends(lab: Lab) -> None:
    talk = lab.talk()
    lab.router.reset()
    talk.wait_for(lambda talk: talk.ending is not None, 5)
    assert talk.ending == "reset"
