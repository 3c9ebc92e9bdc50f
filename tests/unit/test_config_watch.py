"""The daemon's look at its config file: reread once it is settled, once for each edit, else never."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from jtunnel.changes import Changes
from jtunnel.daemon.config_watch import watch_config
from jtunnel.daemon.manager import Manager, Mark
from jtunnel.errors import ConfigError

OLD, HALF, NEW = (1, 1, 1), (2, 5, 1), (2, 9, 1)


class Managed:
    """Stands for a manager: what its file is at each look, and what was read."""

    def __init__(self, *looks: Mark) -> None:
        self._looks = list(looks)
        self.config_mark: Mark = OLD
        self.watches_config = True
        self.failure: Exception | None = None
        self.read: list[Mark] = []

    def look_at_config(self) -> Mark:
        return self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]

    async def reload(self) -> None:
        self.config_mark = self.look_at_config()
        self.read.append(self.config_mark)
        if self.failure:
            raise self.failure


async def follow(managed: Managed, ticks: int = 5) -> list[Mark]:
    """What was read by the end of so many ticks."""
    changes = Changes()
    watching = asyncio.create_task(watch_config(cast("Manager", managed), changes, 0))
    for _ in range(ticks):
        for _ in range(10):
            await asyncio.sleep(0)
        changes.notify()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not watching.done()
    watching.cancel()
    await asyncio.wait([watching])
    return managed.read


@pytest.mark.parametrize(
    ("looks", "read"),
    [
        ([OLD], []),
        ([OLD, OLD, NEW], [NEW]),
        ([NEW], [NEW]),
        ([HALF, NEW], [NEW]),
        ([None, HALF, NEW], [NEW]),
        ([None, OLD], []),
        ([None], [None]),
        ([None, None, None, OLD], [None, OLD]),
        ([NEW, NEW, NEW, OLD], [NEW, OLD]),
    ],
)
def test_it_is_reread_when_two_looks_agree(looks: list[Mark], read: list[Mark]) -> None:
    assert asyncio.run(follow(Managed(*looks))) == read


@pytest.mark.parametrize("failure", [ConfigError("config-invalid", "broken"), KeyError("broken")])
def test_a_broken_file_is_read_once_and_a_bug_ends_nothing(
    caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    managed = Managed(NEW, NEW, NEW, HALF)
    managed.failure = failure
    assert asyncio.run(follow(managed)) == [NEW, HALF]
    assert "broken" in caplog.text


def test_it_may_be_switched_off() -> None:
    managed = Managed(NEW)
    managed.watches_config = False
    assert asyncio.run(follow(managed)) == []
