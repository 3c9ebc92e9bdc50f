"""Which SSH agent a login finds, among real ones: named, of the variable, the manager's, in known places."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from jtunnel.ssh.agent import NO_AGENT, VARIABLE, Agents, FoundAgent, find_agent
from jtunnel.ssh.destination import Destination, Resolved
from jtunnel.ssh.identities import KeyStore
from jtunnel.ssh.resolve import resolve
from tests.support.home import Home
from tests.support.keys import make_key
from tests.support.ssh_agent import SshAgent
from tests.support.virtual_time import run_virtually

KEYRING = "keyring/ssh"
ONE_PASSWORD = ".1password/agent.sock"


StartAgent = Callable[[str], SshAgent]


@pytest.fixture
def start_agent(home: Home) -> Iterator[StartAgent]:
    """Starts agents; what runs at the end is ended."""
    with contextlib.ExitStack() as stack:

        def start(relative: str) -> SshAgent:
            agent = SshAgent(home, relative)
            stack.callback(agent.end)
            return agent

        yield start


def find(home: Home) -> FoundAgent | None:
    return asyncio.run(find_agent(home.env))


def opened(home: Home, named: str | None) -> str | None:
    """The path of the agent that is opened for what IdentityAgent says."""

    async def main() -> str | None:
        agent = await Agents().open(named, home.env)
        if agent is None:
            return None
        agent.close()
        return agent.path

    return asyncio.run(main())


def pretend_manager(home: Home, says: str) -> None:
    """Let the daemon be one of systemd's, whose manager has this environment."""
    directory = os.path.join(home.path, "bin")
    os.makedirs(directory, exist_ok=True)
    asked = os.path.join(home.path, "asked")
    with open(os.path.join(directory, "systemctl"), "w") as file:
        os.fchmod(file.fileno(), 0o755)
        file.write(f"#!/bin/sh\necho \"$*\" >>{asked}\ncat <<'END'\n{says}\nEND\n")
    home.env["PATH"] = f"{directory}:{home.env['PATH']}"
    home.env["JTUNNEL_SERVICE"] = "systemd"


def times_asked(home: Home) -> int:
    """How often the manager was asked."""
    with contextlib.suppress(FileNotFoundError), open(os.path.join(home.path, "asked")) as file:
        return len(file.readlines())
    return 0


def test_no_agent_anywhere(home: Home) -> None:
    assert find(home) is None
    home.env["SSH_AUTH_SOCK"] = os.path.join(home.path, "gone.sock")
    assert find(home) is None


def test_a_file_and_a_dead_socket_are_no_agents(home: Home, start_agent: StartAgent) -> None:
    home.env["SSH_AUTH_SOCK"] = os.path.join(home.path, "config.toml")
    home.write_config("")
    dead = start_agent(KEYRING)
    os.link(dead.path, os.path.join(home.path, "openssh_agent"))
    dead.end()
    assert os.path.exists(os.path.join(home.path, "openssh_agent"))
    assert find(home) is None


def test_the_variable_comes_before_the_known_places(home: Home, start_agent: StartAgent) -> None:
    start_agent(KEYRING).add(make_key(home.path, "known"))
    own = start_agent("own.sock")
    own.add(make_key(home.path, "own"))
    assert find(home) == FoundAgent(os.path.join(home.path, KEYRING), "a known place", 1)
    home.env["SSH_AUTH_SOCK"] = own.path
    assert find(home) == FoundAgent(own.path, "SSH_AUTH_SOCK", 1)


def test_an_empty_agent_does_not_hide_one_with_keys(home: Home, start_agent: StartAgent) -> None:
    own, empty = start_agent("own.sock"), start_agent("openssh_agent")
    home.env["SSH_AUTH_SOCK"] = own.path
    assert find(home) == FoundAgent(own.path, "SSH_AUTH_SOCK", 0)
    filled = start_agent(ONE_PASSWORD)
    filled.add(make_key(home.path, "key"))
    assert find(home) == FoundAgent(filled.path, "a known place", 1)
    empty.add(make_key(home.path, "first"))
    assert find(home) == FoundAgent(empty.path, "a known place", 1)


def test_a_locked_agent_is_an_empty_one(home: Home, start_agent: StartAgent) -> None:
    agent = start_agent("own.sock")
    agent.add(make_key(home.path, "key"))
    home.env["SSH_AUTH_SOCK"] = agent.path
    agent.lock()
    assert find(home) == FoundAgent(agent.path, "SSH_AUTH_SOCK", 0)
    agent.unlock()
    assert find(home) == FoundAgent(agent.path, "SSH_AUTH_SOCK", 1)


def test_the_managers_variable_is_asked_for_only_by_a_service(home: Home, start_agent: StartAgent) -> None:
    later = start_agent("later.sock")
    later.add(make_key(home.path, "key"))
    start_agent(KEYRING).add(make_key(home.path, "known"))
    pretend_manager(home, f"HOME=/\nSSH_AUTH_SOCK={later.path}\nNOT_SSH_AUTH_SOCK=/x")
    found = find(home)
    assert found == FoundAgent(later.path, "the service manager's SSH_AUTH_SOCK", 1)
    del home.env["JTUNNEL_SERVICE"]
    found = find(home)
    assert found is not None
    assert found.source == "a known place"


def test_the_manager_is_not_asked_again_and_again(home: Home, start_agent: StartAgent) -> None:
    pretend_manager(home, "HOME=/")

    async def open_often() -> None:
        agents = Agents()
        for _ in range(3):
            await agents.open(None, home.env)

    asyncio.run(open_often())
    assert times_asked(home) == 1
    own = start_agent("own.sock")
    own.add(make_key(home.path, "own"))
    home.env["SSH_AUTH_SOCK"] = own.path
    assert find(home) is not None
    assert times_asked(home) == 1


def test_a_manager_that_hangs_is_not_waited_for(home: Home, start_agent: StartAgent) -> None:
    known = start_agent(KEYRING)
    pretend_manager(home, "")
    with open(os.path.join(home.path, "bin", "systemctl"), "w") as file:
        file.write("#!/bin/sh\nexec sleep 60\n")
    began_at = time.monotonic()
    found = find(home)
    assert found is not None
    assert found.path == known.path
    assert time.monotonic() - began_at < 5


def test_a_frozen_agent_is_not_waited_for(home: Home, start_agent: StartAgent) -> None:
    frozen, known = start_agent("openssh_agent"), start_agent(KEYRING)
    frozen.process.send_signal(signal.SIGSTOP)
    began_at = time.monotonic()
    found = find(home)
    assert found is not None
    assert found.path == known.path
    assert time.monotonic() - began_at < 4


def test_identity_agent_stands_alone(home: Home, start_agent: StartAgent) -> None:
    named, own, known = start_agent("named.sock"), start_agent("own.sock"), start_agent(KEYRING)
    own.add(make_key(home.path, "own"))
    known.add(make_key(home.path, "known"))
    home.env["SSH_AUTH_SOCK"] = own.path
    assert opened(home, named.path) == named.path
    assert opened(home, NO_AGENT) is None
    assert opened(home, VARIABLE) == own.path
    assert opened(home, os.path.join(home.path, "gone.sock")) is None
    del home.env["SSH_AUTH_SOCK"]
    assert opened(home, VARIABLE) is None
    assert opened(home, None) == known.path


def look_up(home: Home, line: str) -> Resolved:
    """What ssh_config(5) makes of a host whose block has this line."""
    with open(home.ssh_config, "w") as file:
        file.write(f"Host box\n  {line}\n")
    return asyncio.run(resolve(Destination("box"), home.env))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("User me", None),
        ("IdentityAgent none", NO_AGENT),
        ("IdentityAgent SSH_AUTH_SOCK", VARIABLE),
        ("IdentityAgent $SSH_AUTH_SOCK", VARIABLE),
        ("IdentityAgent $MY_AGENT", "/my/agent"),
        ("IdentityAgent $NOT_SET", NO_AGENT),
        ("IdentityAgent /abs/%n.sock", "/abs/box.sock"),
    ],
)
def test_what_ssh_config_says_of_the_agent(home: Home, line: str, expected: str | None) -> None:
    home.env["MY_AGENT"] = "/my/agent"
    assert look_up(home, line).identity_agent == expected
    assert look_up(home, "IdentityAgent ~/a.sock").identity_agent == os.path.join(home.path, "a.sock")


def test_an_agent_that_appears_changes_nothing_in_who_shares_a_connection(home: Home) -> None:
    before = look_up(home, "User me").key
    home.env["SSH_AUTH_SOCK"] = "/some/agent"
    assert look_up(home, "User me").key == before
    assert look_up(home, "User me\n  IdentityAgent none").key != before


class Listed(Agents):
    """An agent whose keys the test names."""

    def __init__(self, *keys: bytes) -> None:
        super().__init__()
        self.keys = set(keys)

    async def list_keys(self, named: str | None, environ: Mapping[str, str]) -> frozenset[bytes]:
        return frozenset(self.keys)


def test_each_new_key_of_the_agents_is_noticed_once(home: Home) -> None:
    resolved = look_up(home, "User me")

    async def main() -> None:
        agents, store = Listed(b"offered"), KeyStore()
        store.note_agent_keys(agents.keys)
        for key in (b"first", b"second"):
            waiting = asyncio.ensure_future(store.wait_new_agent_key(resolved, home.env, agents))
            await asyncio.sleep(100)
            assert not waiting.done()
            agents.keys.add(key)
            await waiting

    run_virtually(main())


def test_what_the_agent_had_when_no_key_was_asked_for_is_not_new(home: Home) -> None:
    resolved = look_up(home, "User me")

    async def main() -> None:
        waiting = KeyStore().wait_new_agent_key(resolved, home.env, Listed(b"there"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                await waiting

    run_virtually(main())


def test_only_those_keys_are_noticed_that_would_be_offered(home: Home) -> None:
    mine = make_key(home.path, "mine")
    resolved = look_up(home, f"IdentitiesOnly yes\n  IdentityFile {mine.path}")

    async def main() -> None:
        agents, store = Listed(), KeyStore()
        store.note_agent_keys(())
        waiting = asyncio.ensure_future(store.wait_new_agent_key(resolved, home.env, agents))
        agents.keys.add(b"another")
        await asyncio.sleep(100)
        assert not waiting.done()
        agents.keys.add(base64.b64decode(mine.public.split()[1]))
        await waiting

    run_virtually(main())


def test_what_an_agent_lists_is_not_asked_for_again_at_once(home: Home, start_agent: StartAgent) -> None:
    agent = start_agent(KEYRING)

    async def main() -> None:
        agents = Agents()
        assert await agents.list_keys(None, home.env) == frozenset()
        agent.add(make_key(home.path, "later"))
        assert await agents.list_keys(None, home.env) == frozenset()
        assert len(await Agents().list_keys(None, home.env)) == 1

    asyncio.run(main())
