"""The turns at shaking hands: four at once, given back in any case."""

from __future__ import annotations

import asyncio

from jtunnel.ssh.dialer import HANDSHAKES, Dialer
from tests.support.ssh_connection import run


def test_four_at_once_and_the_others_in_order() -> None:
    async def main() -> None:
        dialer = Dialer()
        turns = [dialer.turn() for _ in range(HANDSHAKES + 2)]
        taking = [asyncio.ensure_future(turn.take()) for turn in turns]
        await asyncio.sleep(0)
        assert [task.done() for task in taking] == [True] * 4 + [False] * 2
        turns[2].give_back()
        turns[2].give_back()
        await taking[4]
        assert not taking[5].done()
        turns[0].give_back()
        await taking[5]

    run(main)


def test_one_that_gave_its_turn_back_goes_on_without() -> None:
    async def main() -> None:
        dialer = Dialer()
        asked = dialer.turn()
        await asked.take()
        await asked.take()
        asked.give_back()
        for _ in range(HANDSHAKES):
            await dialer.turn().take()
        await asked.take()
        asked.give_back()
        waiting = asyncio.ensure_future(dialer.turn().take())
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()

    run(main)


def test_one_that_is_cancelled_while_it_waits_takes_nothing() -> None:
    async def main() -> None:
        dialer = Dialer()
        held = [dialer.turn() for _ in range(HANDSHAKES)]
        for turn in held:
            await turn.take()
        given_up, last = dialer.turn(), dialer.turn()
        waiting = [asyncio.ensure_future(turn.take()) for turn in (given_up, last)]
        await asyncio.sleep(0)
        # Both at once: the turn is free, and the one that is woken for it is cancelled.
        held[0].give_back()
        waiting[0].cancel()
        given_up.give_back()
        await waiting[1]
        for turn in (*held[1:], last):
            turn.give_back()
        for _ in range(HANDSHAKES):
            await dialer.turn().take()

    run(main)
