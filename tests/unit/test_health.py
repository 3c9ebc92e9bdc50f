"""When a connection is suspected, in virtual time: late answers, doubts, the kernel, no network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from jtunnel.errors import LinkError
from jtunnel.link.health import Health
from jtunnel.machine.watch import Watch
from jtunnel.ssh.connection import Connection
from tests.support.virtual_time import run_virtually


@dataclass
class Progress:
    """What the kernel says of a TCP connection."""

    unacked: int
    retransmits: int
    since_ack_s: float
    since_data_s: float


@dataclass
class Peer:
    """Stands for a connection whose peer answers after `delay_s`; None: not any more."""

    delay_s: float | None = 0.01
    latency_s: float | None = 0.01
    kernel: Callable[[], Progress | None] = lambda: None
    where: str = "gpu-box"
    peer_address: str | None = "192.0.2.1"
    local_address: str | None = "192.0.2.2"
    asked: list[float] = field(default_factory=list)
    pending: list[asyncio.Future[float | None]] = field(default_factory=list)

    def question(self) -> asyncio.Future[float | None]:
        loop = asyncio.get_running_loop()
        self.asked.append(loop.time() - 1000)
        question: asyncio.Future[float | None] = loop.create_future()
        if self.delay_s is None:
            self.pending.append(question)
        else:
            loop.call_later(self.delay_s, question.set_result, self.delay_s)
        return question

    def progress(self) -> Progress | None:
        return self.kernel()


@dataclass
class Machine:
    """Stands for the machine's network."""

    path: object | None = "wlan0"

    def path_to(self, _peer: str) -> object | None:
        return self.path

    def has_address(self, _address: str) -> bool:
        return True


def examine(
    peer: Peer, machine: Machine, then: Callable[[Health], Coroutine[Any, Any, None]] | None = None
) -> tuple[float, LinkError]:
    """Watch until suspicious; after how many seconds, and why."""

    async def main() -> tuple[float, LinkError]:
        health = Health(cast("Connection", peer), 5.0, 3, cast("Watch", machine))
        watching = asyncio.ensure_future(health.wait_suspicious())
        if then is not None:
            await then(health)
        async with asyncio.timeout(100):
            error = await watching
        return asyncio.get_running_loop().time() - 1000, error

    return run_virtually(main())


def test_a_peer_that_answers_is_asked_every_interval_and_never_suspected() -> None:
    peer = Peer()
    with pytest.raises(TimeoutError):
        examine(peer, Machine())
    assert len(peer.asked) == pytest.approx(20, abs=1)


def test_without_any_sign_it_takes_three_questions() -> None:
    after_s, error = examine(Peer(delay_s=None), Machine())
    assert 10 < after_s <= 13
    assert (error.kind, error.message) == ("connection-lost", "gpu-box has not answered for 12 s")


def test_the_kernel_may_know_earlier_that_nothing_gets_through() -> None:
    after_s, error = examine(Peer(delay_s=None, kernel=lambda: Progress(1, 3, 1.4, 9.0)), Machine())
    assert after_s == 1.0
    assert error.message == "gpu-box has acknowledged nothing for 1 s"


def test_a_doubt_is_settled_in_half_a_second_or_four_latencies() -> None:
    async def doubt(health: Health) -> None:
        peer.delay_s = None
        await asyncio.sleep(2)
        health.doubt("after a wake")

    peer = Peer(delay_s=0.01)
    after_s, error = examine(peer, Machine(), doubt)
    assert after_s == pytest.approx(2.5)
    assert error.message == "gpu-box does not answer (after a wake)"
    peer = Peer(delay_s=0.01, latency_s=0.4)
    assert examine(peer, Machine(), doubt)[0] == pytest.approx(3.6)


def test_a_doubt_that_is_answered_is_forgotten() -> None:
    async def doubt(health: Health) -> None:
        for _ in range(10):
            health.doubt("a channel does not open")
            await asyncio.sleep(1)

    with pytest.raises(TimeoutError):
        examine(Peer(delay_s=0.3), Machine(), doubt)


def test_a_long_queue_that_moves_is_waited_for() -> None:
    """An upload over a slow line: the question stands behind megabytes."""

    async def doubt(health: Health) -> None:
        await asyncio.sleep(2)
        health.doubt("a channel does not open")

    with pytest.raises(TimeoutError):
        examine(Peer(delay_s=8.0, kernel=lambda: Progress(40, 0, 0.1, 0.1)), Machine(), doubt)


def test_without_a_network_nothing_is_asked() -> None:
    async def lose(health: Health) -> None:
        await asyncio.sleep(1)
        machine.path = None
        before = len(peer.asked)
        health.doubt("the network changed")
        await asyncio.sleep(0.1)
        assert len(peer.asked) == before

    peer, machine = Peer(), Machine()
    after_s, error = examine(peer, machine, lose)
    assert after_s == pytest.approx(1.1)
    assert "no network" in error.message


def test_an_answer_counts_whenever_it_comes() -> None:
    async def main() -> None:
        peer = Peer(delay_s=None)
        health = Health(cast("Connection", peer), 5.0, 3, cast("Watch", Machine()))
        await health.wait_suspicious()
        seen = health.answers.index
        answered = asyncio.ensure_future(health.answers.wait(seen))
        await asyncio.sleep(5)
        assert not answered.done()
        peer.pending[0].set_result(17.0)
        await answered

    run_virtually(main())
