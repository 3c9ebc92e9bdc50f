"""One outage in one lab, suffered by all contenders at the same time: `python -m bench.outage.round CASE`.

A process of its own, so that several rounds run side by side. Prints what each contender made of it as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Final

from bench.failure import BenchError
from bench.outage.cases import CASES, Case
from bench.outage.contenders import Tunnel, open_tunnels
from tests.support import processes
from tests.support.accounts import current_account
from tests.support.home import Home
from tests.support.keys import make_key
from tests.support.lab.outage import Fault, frozen, suffer
from tests.support.lab.site import Site, open_site
from tests.support.lab.traffic import Request, Traffic

#: Seconds after which a tunnel that does not work yet is given up.
PATIENCE_S: Final = 60.0
_START_TIMEOUT_S: Final = 20.0
#: How long requests that were begun earlier may take when a later one has been answered.
_LATE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Result:
    """What requests to one contender saw; `usable_s` is PATIENCE_S where none was answered in that time.

    `refused` are those since the outage began and until it works again, `waited` those that were begun while
    the network was away and answered when it was back.
    """

    usable_s: float
    refused: int
    waited: int


def main(argv: Sequence[str]) -> None:
    """Suffer the case that is named, and print its results by contender."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    os.environ.setdefault(processes.MARK, secrets.token_hex(8))
    (case,) = [case for case in CASES if case.name == argv[0]]
    results = suffer_case(case)
    print(json.dumps({name: asdict(result) for name, result in results.items()}))


def suffer_case(case: Case) -> dict[str, Result]:
    """Build a lab, start everybody in it, and measure one outage. Raises BenchError."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="jt-outage-", dir="/tmp"))
        home = Home()
        stack.callback(home.remove)
        account_home = os.path.join(directory, "remote")
        os.mkdir(account_home)
        keys = make_key(directory, "host_key"), make_key(directory)
        site = stack.enter_context(
            open_site(home, current_account(account_home), host_key=keys[0], client_key=keys[1])
        )
        tunnels = stack.enter_context(open_tunnels(site))
        traffic = {
            tunnel.name: stack.enter_context(Traffic(site.network.laptop, tunnel.port)) for tunnel in tunnels
        }
        for name, requests in traffic.items():
            if not requests.wait_for(lambda requests: requests.count()["answered"] > 0, _START_TIMEOUT_S):
                raise BenchError(f"{name} does not come up")
        return _measure(site, case, tunnels, traffic)


def _measure(
    site: Site, case: Case, tunnels: Sequence[Tunnel], traffic: dict[str, Traffic]
) -> dict[str, Result]:
    fault = _asleep(case.fault, tunnels) if case.asleep else case.fault
    began_at, returned_at = suffer(site, fault, case.seconds)
    for requests in traffic.values():
        requests.hurry()
    usable_s = {name: _await_usable(requests, returned_at) for name, requests in traffic.items()}
    return {
        name: summarize(requests.requests, usable_s[name], began_at, returned_at)
        for name, requests in traffic.items()
    }


def _await_usable(requests: Traffic, returned_at: float) -> float:
    try:
        usable_s = requests.wait_usable(returned_at, PATIENCE_S)
    except AssertionError:
        usable_s = PATIENCE_S
    requests.settle(_LATE_S)
    return min(PATIENCE_S, usable_s)


def summarize(requests: Sequence[Request], usable_s: float, began_at: float, returned_at: float) -> Result:
    """What the requests to one contender say; times are `time.monotonic`'s."""
    until_usable = [each for each in requests if began_at <= each.began_at < returned_at + usable_s]
    refused = [each for each in until_usable if each.outcome == "refused"]
    waited = [
        each
        for each in until_usable
        if each.outcome == "answered" and each.began_at < returned_at <= (each.ended_at or 0.0)
    ]
    return Result(usable_s, len(refused), len(waited))


def _asleep(fault: Fault, tunnels: Sequence[Tunnel]) -> Fault:
    """The fault comes and goes while all contenders are stopped; it ends when they go on."""
    sleeping = contextlib.ExitStack()

    def begin(site: Site) -> None:
        for tunnel in tunnels:
            sleeping.enter_context(frozen(tunnel.process))
        fault.begin(site)
        fault.end(site)

    def end(site: Site) -> None:
        sleeping.close()

    return Fault(begin, end)


def _interrupt(number: int, frame: FrameType | None) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
