"""A server outlives the login that started it, under a real systemd that ends what a login leaves behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jtunnel.remote import CommandResult
from jtunnel.service.script import Report, compose, read_report
from tests.support.local_remote import new_key
from tests.support.login_machine.login import Login, Person, add_person
from tests.support.login_machine.machine import LoginMachine
from tests.support.remote_scripts import launch_values

pytestmark = [pytest.mark.root, pytest.mark.long]


@pytest.fixture(scope="module")
def machine() -> Iterator[LoginMachine]:
    """A machine whose systemd ends the processes of whoever logs out."""
    with LoginMachine() as booted:
        drop_in = "/etc/systemd/logind.conf.d/kill.conf"
        booted.run("sh", "-c", f"printf '[Login]\\nKillUserProcesses=yes\\n' >{drop_in}")
        booted.run("systemctl", "restart", "systemd-logind")
        yield booted


@pytest.fixture
def person(machine: LoginMachine) -> Iterator[Person]:
    """Somebody with an account there."""
    person = add_person(machine, "ann")
    yield person
    machine.run("loginctl", "disable-linger", person.name)
    machine.try_run("loginctl", "terminate-user", person.name)
    person.wait_gone()


def launch(login: Login, before: str = "") -> Report:
    """Start a process that would stay, as jtunnel does."""
    values = launch_values(login.person.home, "/bin/sleep") | {
        "arguments": "/bin/sleep 3600",
        "interpreter": "/usr/bin/python3",
    }
    text = compose("launch", "n", {"key": new_key(), **values})
    text = text.replace("printf '\\n%s\\n' begin-n", f"{before}\nprintf '\\n%s\\n' begin-n", 1)
    return read_report(CommandResult(0, login.run("sh", "-s", stdin=text), ""), "n")


def test_it_is_ended_with_the_login_or_not(machine: LoginMachine, person: Person) -> None:
    """Without lingering nothing is started, and that is said; with it, it lives on under its number."""
    with Login(person) as login:
        refused = launch(login)
        assert refused.one("ends_at_logout") is not None
        assert refused.one("launched") is None
        # So it would be if it were started all the same.
        pid = (launch(login, before="find_scope() { scope=''; }").one("launched") or "").split(" ")[0]
        login.run("kill", "-0", pid)
    machine.wait_for(f"! kill -0 {pid} 2>/dev/null")
    person.wait_gone()

    machine.run("loginctl", "enable-linger", person.name)
    with Login(person) as login:
        pid = (launch(login).one("launched") or "").split(" ")[0]
        login.wait_for(f"grep -q '^sleep$' /proc/{pid}/comm")
        assert "/user@" in login.run("cat", f"/proc/{pid}/cgroup")
        session = login.run("sh", "-c", "echo $XDG_SESSION_ID").strip()
    machine.wait_for(f"! loginctl show-session {session} >/dev/null 2>&1")
    assert machine.run("cat", f"/proc/{pid}/comm") == "sleep\n"
    machine.run("kill", pid)
