"""Logins: what a person is asked, what is remembered of it, and what is said where the login fails."""

from __future__ import annotations

import os
import stat

import pytest

from jtunnel.errors import LinkError
from jtunnel.ssh.connection import Connection
from jtunnel.ssh.identities import KeyStore
from jtunnel.ssh.prompts import Desk
from tests.support.home import Home
from tests.support.keys import Key, make_key
from tests.support.ssh_connection import Person, dial, run
from tests.support.ssh_login import Round
from tests.support.ssh_server import FaultyServer

PASSPHRASE = "open sesame"


async def dial_as(
    home: Home, *answers: str, alias: str = "box", store: KeyStore | None = None
) -> tuple[Connection, Person]:
    """Connect with a person there who gives these answers."""
    desk, person = Desk(), Person(*answers)
    with desk.attended_by(person):
        return await dial(home, alias, desk=desk, store=store), person


def add_host(home: Home, server: FaultyServer, host_key: Key, *keys: str) -> None:
    home.add_host(
        "box",
        port=server.port,
        user="me",
        identity=None,
        host_key=host_key,
        options={"IdentityFile": keys, "IdentitiesOnly": "yes"} if keys else None,
    )


def test_a_key_asks_nobody(faulty: FaultyServer, home: Home) -> None:
    async def main() -> None:
        store = KeyStore()
        connection, person = await dial_as(home, "never", store=store)
        assert not person.asked
        assert not connection.asked_person
        assert not store.person_logged_in
        await connection.close()

    run(main)


def test_a_password_is_remembered_as_a_persons_login_until_one_without(
    faulty: FaultyServer, home: Home
) -> None:
    async def main() -> None:
        store = KeyStore()
        known, faulty.authorized, faulty.password = faulty.authorized, [], "right"
        connection, person = await dial_as(home, "wrong", "right", store=store)
        assert [question.kind for question in person.asked] == ["password", "password"]
        assert connection.asked_person
        assert store.person_logged_in
        await connection.close()
        with pytest.raises(LinkError) as caught:
            await dial(home, store=store)
        assert caught.value.kind == "input-required"
        assert store.person_logged_in
        faulty.authorized = known
        connection = await dial(home, store=store)
        assert not connection.asked_person
        assert not store.person_logged_in
        await connection.close()

    run(main)


def test_a_code_counts_and_a_round_without_questions_does_not(home: Home, host_key: Key) -> None:
    rounds = [Round([("Code: ", True)], ["123456"]), Round()]
    with FaultyServer(host_key, rounds=rounds) as server:
        add_host(home, server, host_key)

        async def main() -> None:
            connection, person = await dial_as(home, "123456")
            assert [question.kind for question in person.asked] == ["code"]
            assert connection.asked_person
            await connection.close()
            server.rounds = [Round()]
            connection, person = await dial_as(home)
            assert not person.asked
            assert not connection.asked_person
            await connection.close()

        run(main)


def test_the_password_is_asked_after_an_empty_round_of_questions(home: Home, host_key: Key) -> None:
    """Some servers offer keyboard-interactive, ask nothing by it, and refuse."""
    with FaultyServer(host_key, rounds=[Round((), ["never"])], password="right") as server:
        add_host(home, server, host_key)

        async def main() -> None:
            connection, person = await dial_as(home, "right")
            assert [question.kind for question in person.asked] == ["password"]
            assert connection.asked_person
            await connection.close()
            methods = [method for method, _ in server.counts.attempts]
            assert methods == ["keyboard-interactive", "password"]

        run(main)


def test_a_passphrase_does_not_count_and_is_asked_once(home: Home, host_key: Key) -> None:
    key = make_key(home.ssh_dir, "locked", passphrase=PASSPHRASE)
    with FaultyServer(host_key, authorized=[key]) as server:
        add_host(home, server, host_key, key.path)

        async def main() -> None:
            store = KeyStore()
            with pytest.raises(LinkError) as caught:
                await dial(home, store=store)
            assert caught.value.kind == "input-required"
            assert f"the key {key.path} needs its passphrase" in caught.value.message
            for answers in ([PASSPHRASE], []):
                connection, person = await dial_as(home, *answers, store=store)
                assert [question.about for question in person.asked] == [key.path] * len(answers)
                assert not connection.asked_person
                assert not store.person_logged_in
                await connection.close()

        run(main)


@pytest.mark.parametrize("fault", ["missing", "garbage", "public only", "unreadable"])
def test_a_named_key_that_cannot_be_used_is_named(home: Home, host_key: Key, fault: str) -> None:
    key = make_key(home.ssh_dir, "named")
    other = make_key(home.ssh_dir, "other")
    if fault in ("missing", "public only"):
        os.unlink(key.path)
    if fault == "missing":
        os.unlink(f"{key.path}.pub")
    if fault == "garbage":
        with open(key.path, "w") as file:
            file.write("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n")
    if fault == "unreadable":
        if os.geteuid() == 0:
            os.unlink(key.path)
            os.mkdir(key.path)
        else:
            os.chmod(key.path, stat.S_IWUSR)
    with FaultyServer(host_key, authorized=[make_key(home.ssh_dir, "elsewhere")]) as server:
        add_host(home, server, host_key, key.path, other.path)

        async def main() -> None:
            with pytest.raises(LinkError) as caught:
                await dial(home)
            assert caught.value.kind == "auth-failed"
            said = "holds no usable key" if fault == "garbage" else "is missing or unreadable"
            assert caught.value.message.endswith(f"refused the login of me; the key file {key.path} {said}")

        run(main)


def test_a_used_up_number_of_tries_is_a_refusal(home: Home, host_key: Key) -> None:
    with FaultyServer(host_key, password="right") as server:
        add_host(home, server, host_key)

        async def main() -> None:
            with pytest.raises(LinkError) as caught:
                await dial_as(home, "1", "2", "3", "4")
            assert caught.value.kind == "auth-failed"
            assert len(server.counts.attempts) == 3

        run(main)
