"""The clock of a connection attempt: stages, and standing still while a person is asked."""

from __future__ import annotations

import asyncio

import pytest

from jtunnel.ssh.deadline import StageClock


def test_a_stage_that_takes_too_long_ends_the_block() -> None:
    async def main() -> str:
        clock = StageClock()
        with pytest.raises(TimeoutError):
            async with clock:
                clock.enter("connecting", 60)
                clock.enter("login", 0.01)
                await asyncio.Event().wait()
        assert clock.is_over
        assert clock.seconds == 0.01
        return clock.stage

    assert asyncio.run(main()) == "login"


def test_another_timeout_is_not_the_clocks() -> None:
    async def main() -> None:
        clock = StageClock()
        with pytest.raises(TimeoutError):
            async with clock:
                clock.enter("connecting", 60)
                raise TimeoutError("the kernel's own")
        assert not clock.is_over

    asyncio.run(main())


def test_a_stage_that_begins_while_it_is_paused_has_all_its_seconds_after() -> None:
    async def main() -> float:
        clock = StageClock()
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        with pytest.raises(TimeoutError):
            async with clock:
                clock.enter("connecting", 60)
                with clock.paused():
                    clock.enter("login", 0.05)
                    await asyncio.sleep(0.1)
                await asyncio.Event().wait()
        return loop.time() - began_at

    assert asyncio.run(main()) >= 0.15


def test_the_clock_stands_while_paused_and_goes_on_after() -> None:
    async def main() -> bool:
        clock = StageClock()
        answered = asyncio.Event()

        async def person() -> None:
            with clock.paused():
                # Longer than the stage has left: many turns of the loop past its end.
                until = asyncio.get_running_loop().time() + 0.05
                while asyncio.get_running_loop().time() < until:
                    await asyncio.sleep(0)
                answered.set()

        with pytest.raises(TimeoutError):
            async with clock:
                clock.enter("login", 0.02)
                await person()
                assert answered.is_set()
                await asyncio.Event().wait()
        return answered.is_set()

    assert asyncio.run(main())
