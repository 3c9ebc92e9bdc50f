"""Networks that come and go, in a namespace of the test's own: what is noticed, how soon, and what is not."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.lab.namespace import Namespace
from tests.support.listening import LOOPS
from tests.support.machine_watch import NEVER_S, WatchProcess, launch_in

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's"),
]

PEER = "10.77.0.9"
FAR = "8.8.8.8"
PEER6 = "fd77::9"


class Machine:
    """A network namespace with the interface `wlan0`, whose other end is `air`."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self.ip("link add wlan0 type veth peer name air")
        self.ip("link set air up")

    def ip(self, *commands: str) -> float:
        """Run commands of ip(8) in one go; the answer is when they began."""
        began_at = time.monotonic()
        self._namespace.run("ip", "-batch", "-", stdin="\n".join(commands) + "\n")
        return began_at

    def dropped_notices(self) -> int:
        """How many notices found no room in the sockets that wait for them."""
        lines = self._namespace.run("cat", "/proc/net/netlink").splitlines()
        column = lines[0].split().index("Drops")
        return sum(int(line.split()[column]) for line in lines[1:])

    def watch(self, **options: Any) -> WatchProcess:
        """A watch that hears of changes by notices alone, unless told otherwise."""
        return WatchProcess(launch=launch_in(self._namespace), **{"look_s": NEVER_S, **options})

    def python(self, code: str) -> subprocess.Popen[bytes]:
        """Start Python in there, to be talked to by its standard input and output."""
        return launch_in(self._namespace)(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.touch()
    with Namespace(str(resolv_conf)) as namespace:
        yield Machine(namespace)


@pytest.fixture
def connected(machine: Machine) -> Machine:
    """A machine with an address and a default route."""
    machine.ip("addr add 10.77.0.1/24 dev wlan0", "link set wlan0 up", "route add default via 10.77.0.2")
    return machine


def counts(event: dict[str, Any]) -> tuple[int, int]:
    assert event["wakes"] == 0
    return event["gains"], event["losses"]


@pytest.mark.parametrize("loop", LOOPS)
def test_each_change_counts_once_and_says_what_it_was(machine: Machine, loop: str) -> None:
    with machine.watch(loop=loop) as watch:
        delays_s = []

        def after(*commands: str) -> tuple[tuple[int, int], str]:
            began_at = machine.ip(*commands)
            event = watch.event()
            delays_s.append(event["at"] - began_at)
            assert len(watch.log) == len(watch.events)
            return counts(event), watch.log[-1].removeprefix("network changed: ")

        def path(peer: str) -> Any:
            return watch.ask("path", peer)

        assert path(PEER) is None
        assert after("addr add 10.77.0.1/24 dev wlan0", "link set wlan0 up") == (
            (1, 0),
            "gained 10.77.0.1 on wlan0",
        )
        assert path(PEER) == ["10.77.0.1", "wlan0"]
        assert path(FAR) is None
        route = "the default route by 10.77.0.2 on wlan0"
        assert after("route add default via 10.77.0.2") == ((2, 0), f"gained {route}")
        assert path(FAR) == ["10.77.0.1", "wlan0"]
        other = "the default route by 10.77.0.3 on wlan0"
        assert after("route replace default via 10.77.0.3") == ((3, 1), f"gained {other}; lost {route}")

        assert after("link set air down") == ((3, 2), "lost wlan0 (10.77.0.1)")
        assert path(PEER) is None
        assert watch.ask("has", "10.77.0.1")
        assert after("link set air up") == ((4, 2), "gained wlan0 (10.77.0.1)")
        assert path(FAR) == ["10.77.0.1", "wlan0"]

        assert after("addr add 10.77.5.1/16 dev wlan0", "addr del 10.77.0.1/24 dev wlan0") == (
            (5, 3),
            "gained 10.77.5.1 on wlan0; lost 10.77.0.1 on wlan0",
        )
        assert not watch.ask("has", "10.77.0.1")
        assert path(PEER) == ["10.77.5.1", "wlan0"]

        # Taking it down drops its routes without a word, taking it away all the rest.
        assert after("link set wlan0 down") == ((5, 4), "lost wlan0 (10.77.5.1)")
        assert after("link set wlan0 up") == ((6, 4), "gained wlan0 (10.77.5.1)")
        assert after("link del wlan0") == ((6, 5), "lost 10.77.5.1 on wlan0")
        assert path(PEER) is None
        milliseconds = sorted(round(delay_s * 1000) for delay_s in delays_s)
        print(f"{loop}: {len(delays_s)} changes told after {milliseconds} ms, 250 of them the debounce")


def test_ipv6_counts_once_it_may_be_used(connected: Machine) -> None:
    with connected.watch() as watch:
        began_at = connected.ip("addr add fd77::1/64 dev wlan0")
        event = watch.event()
        assert watch.log == ["network changed: gained fd77::1 on wlan0"]
        assert watch.ask("has", "fd77::1")
        assert watch.ask("path", PEER6) == ["fd77::1", "wlan0"]
        assert watch.ask("path", "2001:db8::1") is None
        print(f"usable and told after {event['at'] - began_at:.2f} s, most of it the kernel's own check")
        connected.ip("route add default via fd77::2")
        assert counts(watch.event()) == (2, 0)
        connected.ip("route replace default via fd77::3")
        assert counts(watch.event()) == (3, 1)
        assert watch.log[-1] == (
            "network changed: gained the default route by fd77::3 on wlan0; "
            "lost the default route by fd77::2 on wlan0"
        )
        assert watch.ask("path", "2001:db8::1") == ["fd77::1", "wlan0"]
        connected.ip("addr del fd77::1/64 dev wlan0")
        assert watch.events_until(lambda event: event["losses"] >= 2)
        assert not watch.ask("has", "fd77::1")
        # There is a default route still, but only a link-local address to use it from.
        assert watch.ask("path", PEER6) is None


def test_what_changes_nothing_is_nothing(connected: Machine) -> None:
    with connected.watch() as watch:
        connected.ip(
            "addr replace 10.77.0.1/24 dev wlan0",
            "link set wlan0 mtu 1400",
            "link set wlan0 alias word",
            "route replace default via 10.77.0.2",
            "addr add 169.254.7.7/16 dev wlan0 scope link",
            "addr add 127.0.0.9/8 dev lo",
            "addr add 10.99.0.1/32 dev lo",
            "link add docker7 type bridge",
            "link set docker7 up",
            "link add veth7 type veth peer name veth8",
            "link set veth7 master docker7 up",
            "link set veth8 up",
            "link del veth7",
            "link del docker7",
        )
        # The first thing that is one is all there is to hear of.
        connected.ip("addr add 10.77.1.1/24 dev wlan0")
        assert counts(watch.event()) == (1, 0)
        assert watch.log == ["network changed: gained 10.77.1.1 on wlan0"]


def test_there_and_back_within_the_debounce_is_nothing(connected: Machine) -> None:
    with connected.watch() as watch:
        watch.stop()
        connected.ip("addr del 10.77.0.1/24 dev wlan0", "addr add 10.77.0.1/24 dev wlan0")
        connected.ip("route add default via 10.77.0.2", "addr add 10.77.1.1/24 dev wlan0")
        watch.resume()
        assert counts(watch.event()) == (1, 0)
        assert watch.log == ["network changed: gained 10.77.1.1 on wlan0"]


def test_a_burst_is_one_change(connected: Machine) -> None:
    with connected.watch() as watch:
        # Frozen, so that the burst is one however slow this machine is.
        watch.stop()
        connected.ip(*(f"addr add 10.77.{number}.1/24 dev wlan0" for number in range(1, 121)))
        watch.resume()
        assert counts(watch.event()) == (1, 0)
        assert watch.log[0].endswith("10.77.101.1 on wlan0 and 116 more")
        connected.ip("addr add 10.78.0.1/24 dev wlan0")
        assert counts(watch.event()) == (2, 0)


@pytest.mark.parametrize("loop", LOOPS)
def test_notices_that_found_no_room_are_news(connected: Machine, loop: str) -> None:
    with connected.watch(loop=loop) as watch:
        watch.stop()
        for round_ in range(40):
            adding = [f"addr add 10.80.{round_}.{number}/32 dev wlan0" for number in range(100)]
            connected.ip(*adding, *(command.replace(" add ", " del ") for command in adding))
        assert connected.dropped_notices()
        # Nothing tells of this one.
        connected.ip("addr add 10.77.1.1/24 dev wlan0")
        watch.resume()
        assert counts(watch.event()) == (1, 0)
        # What it had heard of before counts as unheard.
        connected.ip("addr del 10.77.1.1/24 dev wlan0")
        assert counts(watch.event()) == (1, 1)
        connected.ip("addr add 10.77.1.1/24 dev wlan0")
        assert counts(watch.event()) == (2, 1)


def test_changes_without_end_do_not_put_off_the_news(connected: Machine) -> None:
    with connected.watch() as watch:
        connected.ip("addr add 10.77.1.1/24 dev wlan0")
        toggles = 0
        while not watch.ask("events"):
            connected.ip("link set air mtu 1400", "link add x type veth", "link del x")
            toggles += 1
        assert toggles
        assert watch.log[0].startswith("network changed: gained 10.77.1.1 on wlan0")


@pytest.mark.parametrize("seed", range(3))
def test_no_change_is_lost_among_many(connected: Machine, seed: int) -> None:
    chance = random.Random(seed)
    there = {"10.77.0.1"}
    with connected.watch(debounce_s=0.01) as watch:
        for _ in range(60):
            commands = []
            for _ in range(chance.randint(1, 3)):
                ip = f"10.77.{chance.randint(1, 3)}.1"
                commands.append(f"addr {'del' if ip in there else 'add'} {ip}/24 dev wlan0")
                there ^= {ip}
            connected.ip(*commands)
        there ^= {"10.77.9.1"}
        connected.ip("addr add 10.77.9.1/24 dev wlan0")
        watch.events_until(lambda _: watch.ask("known") == sorted(there))


def test_a_stop_in_which_the_network_changed_is_one_event(connected: Machine) -> None:
    with connected.watch(tick_s=0.2, stall_s=0.5) as watch:
        watch.stop()
        connected.ip("addr add 10.77.5.1/16 dev wlan0", "addr del 10.77.0.1/24 dev wlan0")
        time.sleep(1.0)  # the stall itself
        watch.resume()
        event = watch.event()
        assert (event["wakes"], event["gains"], event["losses"]) == (1, 1, 1)


@pytest.mark.parametrize("loop", LOOPS)
def test_without_netlink_looks_do(connected: Machine, loop: str) -> None:
    with connected.watch(loop=loop, forbid_netlink=True, tick_s=0.1, look_s=0.2) as watch:
        connected.ip("route replace default via 10.77.0.3")
        assert counts(watch.event()) == (1, 1)
        assert watch.ask("path", FAR) == ["10.77.0.1", ""]
        assert watch.ask("path", "127.0.0.1") == ["127.0.0.1", "lo"]
        connected.ip("link set air down")
        connected.ip("addr del 10.77.0.1/24 dev wlan0")
        watch.events_until(lambda event: event["losses"] >= 2)
        assert watch.ask("path", FAR) is None
        assert not watch.ask("has", "10.77.0.1")
        late, little = [line for line in watch.log if not line.startswith("network changed")]
        assert late.startswith("network changes are seen up to 10 s late")
        assert little == "the addresses of this machine cannot be read; only its way out is watched"


def test_looks_alone_find_what_no_notice_told(connected: Machine) -> None:
    with connected.watch(tick_s=0.1, look_s=0.2, debounce_s=NEVER_S) as watch:
        connected.ip("addr add 10.77.1.1/24 dev wlan0")
        assert counts(watch.event()) == (1, 0)


def test_a_tunnel_interface_runs_while_it_is_open(connected: Machine) -> None:
    """As a VPN's does, it has no carrier that could be asked for; its split routes count."""
    tunnel = connected.python(
        "import fcntl, struct\n"
        "tun = open('/dev/net/tun', 'r+b', buffering=0)\n"
        "fcntl.ioctl(tun, 0x400454CA, struct.pack('16sH22x', b'tun0', 0x1001))\n"
        "print(flush=True)\n"
        "input()"
    )
    assert tunnel.stdin is not None
    assert tunnel.stdout is not None
    with tunnel, connected.watch() as watch:
        assert tunnel.stdout.readline() == b"\n"
        connected.ip("addr add 10.8.0.6/32 dev tun0", "link set tun0 up")
        assert counts(watch.event()) == (1, 0)
        connected.ip("route add 10.20.0.0/16 dev tun0")
        assert counts(watch.event()) == (2, 0)
        assert watch.log[-1] == "network changed: gained the route to 10.20.0.0/16 on tun0"
        assert watch.ask("path", "10.20.1.1") == ["10.8.0.6", "tun0"]
        connected.ip("route add 0.0.0.0/1 dev tun0", "route add 128.0.0.0/1 dev tun0")
        assert counts(watch.event()) == (3, 0)
        assert watch.ask("path", FAR) == ["10.8.0.6", "tun0"]
        # Without it packets leave by another way, which is worth a try.
        tunnel.stdin.write(b"\n")
        tunnel.stdin.close()
        assert counts(watch.event()) == (4, 1)
        assert "gained 10.77.0.1 as the way out over IPv4; lost " in watch.log[-1]
        assert watch.ask("path", FAR) == ["10.77.0.1", "wlan0"]


def test_another_way_out_by_preference_alone_is_a_gain(connected: Machine) -> None:
    connected.ip(
        "link add eth0 type veth peer name cable",
        "link set cable up",
        "addr add 10.78.0.1/24 dev eth0",
        "link set eth0 up",
        "route add default via 10.78.0.2 metric 700",
    )
    with connected.watch() as watch:
        # As NetworkManager does it, when the first turns out to lead nowhere.
        connected.ip("route add default via 10.77.0.2 metric 900", "route del default via 10.77.0.2 metric 0")
        assert counts(watch.event()) == (1, 0)
        assert watch.log == ["network changed: gained 10.78.0.1 as the way out over IPv4"]


@pytest.mark.long
def test_many_interfaces_and_addresses_cost_little(machine: Machine) -> None:
    pairs = range(300)
    machine.ip(*(f"link add v{number} type veth peer name w{number}" for number in pairs))
    machine.ip(*(f"addr add 10.{number // 200}.{number % 200}.1/24 dev v{number}" for number in pairs))
    machine.ip(*(f"link set {end}{number} up" for number in pairs for end in "vw"))
    with machine.watch() as watch:
        delays_ms = []
        for number in range(10):
            began_at = machine.ip(f"addr add 10.90.{number}.1/24 dev v7")
            delays_ms.append(round((watch.event()["at"] - began_at) * 1000))
            assert watch.log[-1] == f"network changed: gained 10.90.{number}.1 on v7"
        print(f"600 interfaces: told after {sorted(delays_ms)} ms, 250 of them the debounce")
        assert re.fullmatch(r"10\.0\.150\.1", watch.ask("path", "10.0.150.9")[0])
