"""The server's side goes away and comes back: sshd, its patience with strangers, the whole host, its name.

All but the last run at the same time, each in a lab of its own; a test looks at the outcome of one.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial

import pytest

from tests.support.accounts import new_account
from tests.support.home import SYSTEM_PATH
from tests.support.keys import Key
from tests.support.lab.checks import SOON_S, check_reset, check_served, check_survives, check_told
from tests.support.lab.name_server import Mode
from tests.support.lab.network import SERVER_ADDRESS
from tests.support.lab.outage import FAULTS, Fault
from tests.support.lab.side_by_side import Scenario, run_chosen
from tests.support.lab.site import Site
from tests.support.lab.tunnel import NAME, Access, open_tunnel
from tests.support.laptop import remote_account
from tests.support.streams import is_reset

pytestmark = [pytest.mark.root, pytest.mark.long]

#: Tries start at least every 3 s while somebody waits; each of these takes a moment more.
NEXT_TRY_S = 5.0
#: The system's resolver repeats a lost question after 5 s.
NEXT_QUESTION_S = 9.0
#: Who watches is told of a change within 0.1 s, on an idle machine.
TOLD_WITHIN_S = 0.5
JUPYTER_PORT = 8888


def killed(seconds: float, access: Access) -> str:
    """sshd dies with all its connections; for a while the port refuses."""
    with open_tunnel(access) as tunnel, tunnel.talk() as talk:
        talk.wait_heard()
        recovery = tunnel.suffer(FAULTS["sshd restarted"], seconds)
        check_served(recovery, NEXT_TRY_S)
        check_told(tunnel, recovery, reconnects=1)
        check_reset(talk, 1.0, recovery.began_at)
        told_at = tunnel.story.wait_for(lambda told: told["state"] == "retrying", SOON_S, recovery.began_at)
        assert told_at is not None
        assert talk.ended_at is not None
        assert told_at - talk.ended_at <= TOLD_WITHIN_S
        return f"{recovery}; told {told_at - talk.ended_at:.3f} s after the stream's end"


def restarted_in_order(access: Access) -> str:
    """`systemctl restart ssh`: connections go on."""
    with open_tunnel(access) as tunnel, tunnel.talk() as talk:
        talk.wait_heard()

        def restart(site: Site) -> None:
            site.sshd.restart(keep_sessions=True)

        recovery = tunnel.suffer(Fault(restart), 3)
        check_served(recovery, SOON_S)
        check_survives(talk)
        assert tunnel.story.states() == ["up"]
        assert tunnel.story.now["reconnects"] == 0
        return f"{recovery}; the stream: {talk}"


@contextmanager
def stranger_at_the_door(site: Site) -> Iterator[None]:
    """Somebody who connects and never logs in."""
    with site.network.server.dial(SERVER_ADDRESS, 22) as stranger:
        assert stranger.recv(4) == b"SSH-"
        yield


def refusing(seconds: float, access: Access) -> str:
    """sshd takes one stranger at a time (MaxStartups), and there is one: it hangs up on all others."""
    with open_tunnel(access) as tunnel:
        site = tunnel.site
        stranger = stranger_at_the_door(site)

        def begin(site: Site) -> None:
            # Until the stranger is there, nobody else gets through.
            site.network.home.router.drop()
            site.sshd.kill()
            site.sshd.options["MaxStartups"] = "1"
            site.sshd.start()
            stranger.__enter__()
            site.network.home.router.heal()

        def end(site: Site) -> None:
            stranger.__exit__(None, None, None)
            site.sshd.log.wait_for("kex_exchange_identification: .*", 10.0)

        tries = site.sshd.log.mark()
        recovery = tunnel.suffer(Fault(begin, end), seconds)
        check_served(recovery, NEXT_TRY_S)
        check_told(tunnel, recovery, reconnects=1)
        attempts = [status["attempt"] for _, status in tunnel.story.since(recovery.began_at)]
        # It said how often it had tried and when it would again, and did not hammer.
        assert 5 <= max(attempts) <= 2 * seconds
        assert any(status["retry_at"] for _, status in tunnel.story.since(recovery.began_at))
        made = site.sshd.log.mark() - tries
        return f"{recovery}; {max(attempts)} tries, {made} lines in sshd's log"


def nameless(mode: Mode, access: Access) -> str:
    """The connection is lost, and for a while its host has no address."""
    with open_tunnel(access) as tunnel:

        def begin(site: Site) -> None:
            site.network.names.mode = mode
            site.sshd.drop_sessions()

        def end(site: Site) -> None:
            site.network.names.mode = "answers"

        recovery = tunnel.suffer(Fault(begin, end), 15)
        check_served(recovery, NEXT_QUESTION_S if mode == "mute" else NEXT_TRY_S)
        check_told(tunnel, recovery, reconnects=1)
        return f"{recovery}; {tunnel.site.network.names.asked} questions"


SCENARIOS: Mapping[str, Scenario] = {
    "sshd refuses for 60 s": partial(refusing, 60),
    "sshd is away for 20 s": partial(killed, 20),
    "names fail": partial(nameless, "fails"),
    "no such name": partial(nameless, "no-such-name"),
    "the resolver is mute": partial(nameless, "mute"),
    "sshd is killed and restarted": partial(killed, 1),
    "sshd is restarted in order": restarted_in_order,
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


def test_a_host_that_was_rebooted_has_no_jupyter_until_a_person_asks(
    host_key: Key, client_key: Key, jupyter_bin: str
) -> None:
    env = {"PATH": f"{jupyter_bin}:{SYSTEM_PATH}"}
    jupyter = f"[profiles.{NAME}.jupyter]\nlocal_port = {JUPYTER_PORT}\n"
    with (
        remote_account() as account,
        open_tunnel(Access(account, client_key, host_key), env=env, config=jupyter) as tunnel,
    ):
        before = tunnel.story.now["jupyter"]
        assert before is not None
        site = tunnel.site
        site.network.home.router.drop()
        rebooted_at = time.monotonic()
        site.reboot()
        # Who comes meanwhile waits, and must not wait for kernels that are gone.
        waiting = site.network.laptop.dial("127.0.0.1", JUPYTER_PORT)
        waiting.sendall(b"GET /api/kernels HTTP/1.1\r\nHost: localhost\r\n\r\n")
        site.network.home.router.heal()
        blocked_at = tunnel.story.wait_for(lambda told: told["state"] == "blocked", 60.0, rebooted_at)
        assert blocked_at is not None, tunnel.story.now
        problem = tunnel.story.now["problem"]
        assert problem is not None
        assert problem["kind"] == "server-gone"
        assert NAME in problem["advice"]
        waiting.settimeout(5.0)
        with waiting:
            assert is_reset(waiting)
        late = site.network.laptop.open_socket(socket.SOCK_STREAM)
        with late, pytest.raises(ConnectionResetError):
            late.settimeout(5.0)
            late.connect(("127.0.0.1", JUPYTER_PORT))
            late.recv(1)
        # It stays so: a restart would lose kernels silently.
        assert tunnel.jtunnel.run("status", NAME).returncode == 4
        tunnel.jtunnel.check("up", NAME, timeout=120.0)
        after = tunnel.jtunnel.tunnel(NAME)["jupyter"]
        assert after is not None
        assert after["pid"] != before["pid"]
        assert after["origin"] == "started"
