"""SSH servers that turn bad under a tunnel and good again: mute at some stage, or gone after the login.

All of these run at the same time, each with a server and a daemon of its own; a test looks at one outcome.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from types import TracebackType

import pytest

from tests.support.accounts import current_account
from tests.support.client import Jtunnel
from tests.support.home import Home
from tests.support.keys import Key
from tests.support.lab.outage import await_recovery
from tests.support.lab.program import Story
from tests.support.lab.side_by_side import Scenario, run_chosen
from tests.support.lab.traffic import Traffic
from tests.support.lab.tunnel import PATIENCE_S, Access
from tests.support.profiles import profile
from tests.support.ssh_server import FaultyServer, Stop
from tests.support.streams import EchoServer, free_port

pytestmark = pytest.mark.long

NAME = "gpu"
BAD_S = 30.0
#: A try starts at least every 3 s while somebody waits, also beside one that hangs.
NEXT_TRY_S = 5.0
#: How many tries are no hammering in that time, and how many whole logins.
TRIES = 20
LOGINS = 15


@dataclass(frozen=True, slots=True)
class Faulty:
    """A tunnel that is up, over a server that does as it is told."""

    server: FaultyServer
    story: Story
    traffic: Traffic


@contextlib.contextmanager
def open_faulty(access: Access) -> Iterator[Faulty]:
    """The tunnel, with requests flowing through it."""
    with contextlib.ExitStack() as stack:
        home = Home()
        stack.callback(home.remove)
        server = stack.enter_context(FaultyServer(access.host_key, authorized=[access.client_key]))
        home.add_host(
            "box", port=server.port, user="me", identity=access.client_key, host_key=access.host_key
        )
        echo = stack.enter_context(EchoServer())
        jtunnel = Jtunnel(home)
        port = free_port()
        jtunnel.write_config(profile(NAME, f"{port}:{echo.target}"))
        stack.callback(jtunnel.close)
        jtunnel.check("up", NAME)
        stack.push(partial(note_log, jtunnel))
        story = stack.enter_context(Story(jtunnel, NAME))
        traffic = stack.enter_context(Traffic(None, port))
        assert traffic.wait_for(lambda traffic: traffic.count()["answered"] > 0, 10.0)
        yield Faulty(server, story, traffic)


def note_log(
    jtunnel: Jtunnel,
    kind: type[BaseException] | None,
    failure: BaseException | None,
    traceback: TracebackType | None,
) -> None:
    """Add the daemon's log to what failed."""
    if failure is not None:
        failure.add_note(f"jtunnel.log:\n{jtunnel.log_tail()}")


def turn_bad_and_good(faulty: Faulty) -> str:
    """Drop the connection of a server that has just turned bad; after a while let it be good."""
    server = faulty.server
    began_at = time.monotonic()
    tries, logins = server.counts.connections, server.counts.logins
    server.drop_all()
    time.sleep(BAD_S)
    tries, logins = server.counts.connections - tries, server.counts.logins - logins
    told = faulty.story.since(began_at)
    server.stop_at = server.close_after = None
    server.release_logins()
    recovery = await_recovery(faulty.traffic, began_at, time.monotonic(), PATIENCE_S)
    measured = f"{recovery}; {tries} tries and {logins} logins meanwhile"
    assert recovery.counts["refused"] == recovery.counts["closed"] == 0, measured
    assert recovery.hanging == [], measured
    assert recovery.usable_s <= NEXT_TRY_S, measured
    assert tries <= TRIES, measured
    assert logins <= LOGINS, measured
    assert [status for _, status in told if status["state"] == "retrying" and status["problem"]]
    assert max(status["attempt"] for _, status in told) >= 1, measured
    assert told[-1][1]["forwards"][0]["held"] > 0
    return measured


def mute(stage: Stop, access: Access) -> str:
    """It accepts and then says nothing from that stage on."""
    with open_faulty(access) as faulty:
        faulty.server.stop_at = stage
        return turn_bad_and_good(faulty)


def mute_instead_of_login(access: Access) -> str:
    """It exchanges keys and then leaves the login unanswered."""
    with open_faulty(access) as faulty:
        faulty.server.hold_logins()
        return turn_bad_and_good(faulty)


def hangs_up(access: Access) -> str:
    """It closes each connection after the login, which counts as a failure and not as a success."""
    with open_faulty(access) as faulty:
        faulty.server.close_after = "auth"
        return turn_bad_and_good(faulty)


def falls_silent(access: Access) -> str:
    """A connection that is there answers no more, and new ones wait as well; then all goes on."""
    with open_faulty(access) as faulty:
        began_at = time.monotonic()
        faulty.server.pause()
        lost_at = faulty.story.wait_for(lambda told: told["state"] == "retrying", 20.0, began_at)
        assert lost_at is not None
        assert faulty.story.now["problem"] is not None
        assert faulty.story.now["problem"]["kind"] == "connection-lost"
        faulty.server.resume()
        recovery = await_recovery(faulty.traffic, began_at, time.monotonic(), PATIENCE_S)
        assert recovery.counts["refused"] == recovery.counts["closed"] == 0, str(recovery)
        assert recovery.hanging == [], str(recovery)
        assert recovery.usable_s <= NEXT_TRY_S, str(recovery)
        return f"suspected after {lost_at - began_at:.1f} s; {recovery}"


SCENARIOS: Mapping[str, Scenario] = {
    "mute after accept": partial(mute, "connect"),
    "mute after its banner": partial(mute, "banner"),
    "mute after its key exchange began": partial(mute, "kex"),
    "mute instead of a login": mute_instead_of_login,
    "hangs up after the login": hangs_up,
    "falls silent": falls_silent,
}


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, host_key: Key, client_key: Key) -> Mapping[str, Future[str]]:
    """What became of each scenario that this run has chosen."""
    return run_chosen(request, SCENARIOS, Access(current_account("/"), client_key, host_key))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_server(
    scenario: str, outcomes: Mapping[str, Future[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    measured = outcomes[scenario].result()
    with capsys.disabled():
        print(f"\n{scenario}: {measured}")
