"""The look-up of names: in few threads, the same name once, and none held up by one that hangs."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from jtunnel.ssh import failures
from jtunnel.ssh.names import AddressInfo, Names, ask_system
from tests.support.ssh_connection import run

#: Seconds that a name may take here.
LIMIT_S = 0.2
#: Look-ups at once; threads in all, those that hang included; threads with one question.
AT_ONCE, MOST, MOST_EACH = 8, 32, 8


class Resolver:
    """Answers at once, but names that begin with `hang` only when it is told to."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.asking = 0
        self.most_at_once = 0
        self.released = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, host: str, port: int, family: int) -> list[AddressInfo]:
        with self._lock:
            self.asked[host] += 1
            self.asking += 1
            self.most_at_once = max(self.most_at_once, self.asking)
        try:
            if host.startswith("hang"):
                self.released.wait()
            if host == "unknown":
                raise socket.gaierror(socket.EAI_NONAME, "unknown")
        finally:
            with self._lock:
                self.asking -= 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    made = Resolver()
    yield made
    made.released.set()


async def is_hung(names: Names, name: str) -> bool:
    try:
        await names.look_up(name, 22, 0)
    except TimeoutError:
        return True
    return False


def test_addresses_need_no_look_up(resolver: Resolver) -> None:
    async def main() -> None:
        names = Names(resolver)
        assert [found[4] for found in await names.look_up("127.0.0.1", 22, 0)] == [("127.0.0.1", 22)]
        assert [found[4][:2] for found in await names.look_up("::1", 22, 0)] == [("::1", 22)]
        assert not resolver.asked

    run(main)


def test_the_same_name_is_looked_up_once_at_a_time(resolver: Resolver) -> None:
    async def main() -> None:
        names = Names(resolver)
        askers = [asyncio.ensure_future(names.look_up("hang", 22, 0)) for _ in range(5)]
        await asyncio.sleep(0)
        # One that goes away takes nothing from the others.
        askers[0].cancel()
        resolver.released.set()
        assert [(await asker)[0][4] for asker in askers[1:]] == [("192.0.2.1", 22)] * 4
        assert resolver.asked["hang"] == 1
        await names.look_up("hang", 22, 0)
        await names.look_up("hang", 23, 0)
        assert resolver.asked["hang"] == 3

    run(main)


def test_few_are_looked_up_at_once(resolver: Resolver) -> None:
    async def main() -> None:
        names = Names(resolver)
        askers = [asyncio.ensure_future(names.look_up(f"hang{number}", 22, 0)) for number in range(30)]
        while resolver.asking < AT_ONCE:
            await asyncio.sleep(0)
        resolver.released.set()
        await asyncio.gather(*askers)
        assert resolver.most_at_once == AT_ONCE

    run(main)


def test_hung_look_ups_are_given_up_and_hold_nobody_up(resolver: Resolver) -> None:
    async def main() -> None:
        names = Names(resolver, LIMIT_S)
        hanging = [asyncio.ensure_future(is_hung(names, f"hang{number}")) for number in range(AT_ONCE)]
        await asyncio.sleep(0)
        assert await names.look_up("good", 22, 0)
        assert all(await asyncio.gather(*hanging))

    run(main)


def test_hung_threads_are_bounded_and_counted_until_they_end(resolver: Resolver) -> None:
    async def main() -> None:
        names = Names(resolver, LIMIT_S)
        hung = await asyncio.gather(*(is_hung(names, f"hang{number}") for number in range(50)))
        assert all(hung)
        assert resolver.asking == MOST
        assert await is_hung(names, "good")
        assert resolver.asked.total() == MOST
        resolver.released.set()
        while resolver.asking:
            await asyncio.sleep(0)
        while await is_hung(names, "good"):
            await asyncio.sleep(0)
        assert resolver.asked.total() == MOST + 1

    run(main)


def test_one_name_alone_cannot_take_all_threads(resolver: Resolver) -> None:
    async def main() -> None:
        names = Names(resolver, LIMIT_S / 10)
        for _ in range(MOST_EACH + 3):
            assert await is_hung(names, "hang")
        assert resolver.asking == MOST_EACH
        assert not await is_hung(names, "good")

    run(main)


def test_what_went_wrong_is_said(resolver: Resolver) -> None:
    async def main() -> None:
        names = Names(resolver, LIMIT_S)
        with pytest.raises(socket.gaierror) as unknown:
            await names.look_up("unknown", 22, 0)
        problem = failures.name_failed("unknown", unknown.value)
        assert (problem.kind, problem.message) == ("host-unreachable", "the name unknown is not known")
        with pytest.raises(TimeoutError) as silent:
            await names.look_up("hang", 22, 0)
        problem = failures.name_failed("hang", silent.value)
        assert (problem.kind, problem.message) == (
            "host-unreachable",
            "the name hang was not answered in 5 s",
        )

    run(main)


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".invalid", "no-such-host.invalid"])
def test_the_system_does_not_know_impossible_names(name: str) -> None:
    with pytest.raises(socket.gaierror):
        ask_system(name, 22, 0)


def test_an_end_of_the_loop_waits_for_no_thread(resolver: Resolver) -> None:
    async def main() -> None:
        names = Names(resolver)
        asyncio.ensure_future(names.look_up("hang", 22, 0))  # noqa: RUF006  (left behind on purpose)
        while not resolver.asking:
            await asyncio.sleep(0)

    run(main)
    resolver.released.set()


def test_a_question_that_got_lost_is_asked_once_more_and_soon() -> None:
    """The system's resolver repeats one only after seconds; just after an outage the first is often lost."""

    class Lossy(Resolver):
        def __call__(self, host: str, port: int, family: int) -> list[AddressInfo]:
            if self.asked["gpu-box"] == 0:
                self.asked["gpu-box"] += 1
                self.released.wait()
            return super().__call__(host, port, family)

    resolver = Lossy()

    async def main() -> None:
        found = await Names(resolver, 5.0).look_up("gpu-box", 22, 0)
        assert [info[4] for info in found] == [("192.0.2.1", 22)]
        assert resolver.asked["gpu-box"] == 2
        resolver.released.set()

    run(main)
