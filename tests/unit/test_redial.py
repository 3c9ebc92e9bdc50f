"""From no connection to one, in virtual time: which tries are made, when, and which one wins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from jtunnel.errors import LinkError
from jtunnel.link.phase import Blocked, Dialling, Waiting
from jtunnel.link.redial import Redial, Step
from jtunnel.ssh.connection import Connection
from tests.support.virtual_time import let_run, run_virtually

UNREACHABLE = LinkError("host-unreachable", "gpu-box refuses connections")
LOST = LinkError("connection-lost", "lost gpu-box")
REFUSED = LinkError("auth-failed", "gpu-box refused the login of me")
OTHER_KEY = LinkError("host-key-changed", "gpu-box has another key")


@dataclass(eq=False)
class Made:
    """Stands for a connection: only whether it was dropped matters here."""

    number: int
    aborted: bool = False

    def abort(self) -> None:
        self.aborted = True


@dataclass
class Network:
    """Answers tries in order: an error, seconds until one succeeds, or None for a try that hangs."""

    answers: list[LinkError | float | None]
    asked_person: bool = False
    offline: bool = False
    tries: list[float] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    ended: int = 0
    steps: list[Step] = field(default_factory=list)
    key_came: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self) -> Connection:
        now = asyncio.get_running_loop().time()
        self.tries.append(now)
        number = len(self.tries)
        answer = self.answers[min(number, len(self.answers)) - 1]
        try:
            if answer is None:
                await asyncio.sleep(10)
                raise UNREACHABLE
            if isinstance(answer, LinkError):
                raise answer
            await asyncio.sleep(answer)
        finally:
            self.ended += 1
        made = Made(number)
        self.made.append(made)
        return cast("Connection", made)

    def redial(self) -> Redial:
        return Redial(
            self.connect,
            self.steps.append,
            is_offline=lambda: self.offline,
            may_race=lambda: not self.asked_person,
            new_key=self.key_came.wait,
        )

    @property
    def gaps(self) -> list[float]:
        """Seconds between the beginnings of tries."""
        return [round(later - earlier, 2) for earlier, later in zip(self.tries, self.tries[1:], strict=False)]


def dial(network: Network, error: LinkError | None = None, *, hurried: bool = False) -> Made:
    """Dial until there is a connection."""

    async def main() -> Made:
        redial = network.redial()
        redial.hurried = hurried
        return cast("Made", await redial.run(error))

    return run_virtually(main())


def test_the_first_try_succeeds() -> None:
    network = Network([0.1])
    assert dial(network).number == 1
    assert network.steps == [Dialling(0, None)]


def test_after_a_loss_it_is_tried_at_once_and_then_more_and_more_rarely() -> None:
    network = Network([UNREACHABLE] * 12 + [0.1])
    dial(network, LOST)
    assert len(network.gaps) == 12
    assert network.gaps[0] < 2
    assert 15 <= network.gaps[-1] <= 30
    assert isinstance(network.steps[0], Dialling)
    assert network.steps[0] == Dialling(1, LOST)
    waiting = [step for step in network.steps if isinstance(step, Waiting)]
    assert [step.attempt for step in waiting] == list(range(2, 14))
    assert {step.error for step in waiting} == {UNREACHABLE}


def test_while_somebody_waits_a_try_starts_every_three_seconds() -> None:
    network = Network([UNREACHABLE] * 40 + [0.1])
    dial(network, LOST, hurried=True)
    assert max(network.gaps) <= 3


def test_a_try_that_hangs_gets_another_beside_it_while_somebody_waits() -> None:
    network = Network([None, 0.5])
    made = dial(network, hurried=True)
    assert (made.number, network.gaps) == (2, [3.0])
    assert network.ended == 2


def test_a_try_that_hangs_is_waited_for_where_nobody_waits_or_a_person_is_asked() -> None:
    network = Network([None, 0.5])
    assert dial(network).number == 2
    assert network.gaps[0] > 10
    network = Network([None, 0.5], asked_person=True)
    dial(network, hurried=True)
    assert network.gaps[0] >= 10


def test_the_slower_of_two_tries_is_dropped_and_a_slow_success_counts() -> None:
    network = Network([4.0, 2.0])
    assert dial(network, hurried=True).number == 1
    assert network.ended == 2
    network = Network([4.0, 1.0])
    first = dial(network, hurried=True)
    assert [made.aborted for made in network.made if made is not first] in ([True], [])
    assert not first.aborted


@pytest.mark.parametrize("offline", [False, True])
def test_an_event_cuts_the_wait_short_and_brings_quick_tries(offline: bool) -> None:
    network = Network([UNREACHABLE] * 20, offline=offline)

    async def main() -> None:
        redial = network.redial()
        dialling = asyncio.ensure_future(redial.run(LOST))
        await asyncio.sleep(61)
        network.offline = False
        before = len(network.tries)
        redial.nudge(burst=True)
        await asyncio.sleep(0.35)
        assert len(network.tries) == before + 1
        await asyncio.sleep(5)
        assert len(network.tries) >= before + 5
        dialling.cancel()

    run_virtually(main())


def test_offline_it_waits_for_an_event_and_tries_rarely() -> None:
    network = Network([0.1], offline=True)
    made = dial(network, LOST)
    assert made.number == 1
    assert network.tries == [1060.0]


def test_a_gain_during_a_try_starts_a_fresh_one_at_once() -> None:
    network = Network([None, 0.1])

    async def main() -> None:
        redial = network.redial()
        dialling = asyncio.ensure_future(redial.run(LOST))
        await asyncio.sleep(1)
        redial.nudge(burst=True)
        await dialling

    run_virtually(main())
    assert network.gaps == [1.0]


def test_who_begins_to_wait_brings_the_next_try_nearer() -> None:
    network = Network([UNREACHABLE] * 10 + [0.1])

    async def main() -> None:
        redial = network.redial()
        dialling = asyncio.ensure_future(redial.run(LOST))
        while len(network.tries) < 9:
            await asyncio.sleep(1)
        redial.hasten("a tunnel", waits=True)
        await asyncio.sleep(3)
        assert len(network.tries) == 10
        redial.hasten("a tunnel", waits=False)
        await dialling

    run_virtually(main())


def blocked_after(network: Network, then: Callable[[Redial], None] = lambda _redial: None) -> int:
    """Dial until blocked, do `then`, let it settle; the number of tries."""

    async def main() -> int:
        redial = network.redial()
        dialling = asyncio.ensure_future(redial.run(None))
        await let_run()
        assert isinstance(network.steps[-1], Blocked)
        then(redial)
        await let_run()
        await asyncio.sleep(120)
        assert isinstance(network.steps[-1], Blocked)
        dialling.cancel()
        return len(network.tries)

    return run_virtually(main())


def test_a_refused_login_waits_for_a_person() -> None:
    assert blocked_after(Network([REFUSED])) == 1
    assert blocked_after(Network([REFUSED]), lambda redial: redial.nudge(burst=True)) == 1
    assert blocked_after(Network([REFUSED]), lambda redial: redial.start_anew()) == 2


def test_a_refused_login_is_tried_again_with_a_new_key() -> None:
    network = Network([REFUSED, 0.1])

    async def main() -> None:
        dialling = asyncio.ensure_future(network.redial().run(None))
        await asyncio.sleep(120)
        assert isinstance(network.steps[-1], Blocked)
        network.key_came.set()
        await dialling
        assert network.gaps == [120.0]

    run_virtually(main())


def test_a_changed_host_key_is_looked_at_once_more_on_another_network() -> None:
    def change_twice(redial: Redial) -> None:
        redial.nudge(burst=True)
        asyncio.get_running_loop().call_later(60, lambda: redial.nudge(burst=True))

    assert blocked_after(Network([OTHER_KEY]), change_twice) == 2


def test_a_login_that_worked_and_is_refused_is_tried_once_more() -> None:
    network = Network([0.1, REFUSED, REFUSED])

    async def main() -> None:
        redial = network.redial()
        await redial.run(None)
        dialling = asyncio.ensure_future(redial.run(LOST))
        await asyncio.sleep(300)
        assert isinstance(network.steps[-1], Blocked)
        dialling.cancel()

    run_virtually(main())
    assert len(network.tries) == 3
    assert network.gaps[1] == pytest.approx(30, abs=0.5)


def test_cancelled_in_the_middle_nothing_goes_on() -> None:
    network = Network([None])

    async def main() -> None:
        redial = network.redial()
        redial.hurried = True
        dialling = asyncio.ensure_future(redial.run(None))
        await asyncio.sleep(4)
        assert len(network.tries) == 2
        dialling.cancel()
        await asyncio.wait([dialling])
        assert network.ended == 2

    run_virtually(main())


@pytest.mark.parametrize("answer", [UNREACHABLE, None, 5.0], ids=["waiting", "hanging", "dialling"])
def test_a_redial_that_is_cancelled_leaves_no_task(answer: LinkError | float | None) -> None:
    async def main() -> set[asyncio.Task[object]]:
        network = Network([answer])
        redial = network.redial()
        redial.hurried = True
        task = asyncio.create_task(redial.run(LOST))
        await asyncio.sleep(0.4)
        task.cancel()
        await asyncio.wait([task])
        await let_run()
        return asyncio.all_tasks() - {cast("asyncio.Task[object]", asyncio.current_task())}

    assert run_virtually(main()) == set()
