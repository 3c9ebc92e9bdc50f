"""Faults that come and go, and the clock of the recovery from one.

Knows no tunnel: a fault acts on the site, and a recovery is what requests and streams saw of it.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import psutil

from tests.support.lab.site import Site
from tests.support.lab.traffic import Outcome, Request, Traffic


@dataclass(frozen=True, slots=True)
class Fault:
    """What begins it and what ends it; one that is over at once has nothing to end."""

    begin: Callable[[Site], None]
    end: Callable[[Site], None] = field(default=lambda site: None)


def _leave_home(site: Site) -> None:
    """The wireless network is gone, and with it the address."""
    site.network.home.unplug()
    site.network.home.release()


def _return_home(site: Site) -> None:
    """The same network gives another address."""
    site.network.home.renumber()
    site.network.home.plug()
    site.network.home.lease()


def _arrive_in_cafe(site: Site) -> None:
    site.network.cafe.plug()
    site.network.cafe.lease()


def _switch_on(site: Site) -> None:
    site.network.home.enable()
    site.network.home.lease()


FAULTS: Final[Mapping[str, Fault]] = {
    "link down": Fault(lambda site: site.network.home.unplug(), lambda site: site.network.home.plug()),
    "interface off": Fault(lambda site: site.network.home.disable(), _switch_on),
    "another address": Fault(_leave_home, _return_home),
    "another route": Fault(_leave_home, _arrive_in_cafe),
    "silent drop": Fault(
        lambda site: site.network.home.router.drop(), lambda site: site.network.home.router.heal()
    ),
    "one-way drop": Fault(
        lambda site: site.network.home.router.drop("in"), lambda site: site.network.home.router.heal()
    ),
    "NAT forgotten": Fault(lambda site: site.network.home.router.forget()),
    "sshd restarted": Fault(lambda site: site.sshd.kill(), lambda site: site.sshd.start()),
}


@contextlib.contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    """Stop a process and all its children for as long as the block runs, as a sleeping laptop does."""
    stopped = [process, *process.children(recursive=True)]
    for each in stopped:
        each.suspend()
    try:
        yield
    finally:
        for each in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.resume()


@dataclass(frozen=True, slots=True)
class Recovery:
    """What requests saw of an outage.

    `usable_s` is from the moment the network worked again to the first answer to a request begun after it;
    `counts` are of all requests since the outage began, `hanging` those without any end.
    """

    began_at: float
    returned_at: float
    usable_s: float
    counts: Counter[Outcome]
    held: int
    """How many were begun before the return and answered after it."""
    hanging: list[Request]

    def __str__(self) -> str:
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.counts.items()))
        return f"usable after {self.usable_s:.2f} s; {told}; {self.held} of them held and served"


def await_recovery(traffic: Traffic, began_at: float, returned_at: float, timeout_s: float) -> Recovery:
    """Watch the traffic from the return on, until a fresh request is answered and every one has ended.

    AssertionError where none is answered in time.
    """
    traffic.hurry()
    usable_s = traffic.wait_usable(returned_at, timeout_s)
    hanging = traffic.settle(max(5.0, timeout_s - usable_s))
    held = [
        request
        for request in traffic.requests
        if request.outcome == "answered" and request.began_at < returned_at <= (request.ended_at or 0.0)
    ]
    return Recovery(began_at, returned_at, usable_s, traffic.count(began_at), len(held), hanging)


def suffer(site: Site, fault: Fault, seconds: float) -> tuple[float, float]:
    """Let a fault last so long; the answer is when it began, and when the network worked again."""
    began_at = time.monotonic()
    fault.begin(site)
    time.sleep(max(0.0, began_at + seconds - time.monotonic()))
    ended_at = time.monotonic()
    fault.end(site)
    return began_at, site.beacon.wait_works(ended_at)
