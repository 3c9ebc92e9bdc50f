"""The daemon's look at its config file: reread once it is settled, once for each edit, else never."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from jtunnel.changes import Changes
from jtunnel.daemon.config_watch import watch_config
from jtunnel.daemon.manager import Manager, Mark
from jtunnel.errors import ConfigError


class Managed:
    """Stands for a manager: its file, and how often that was read."""

    def __init__(self) -> None:
        self.file: Mark = (1, 1, 1)
        self.config_mark: Mark = (1, 1, 1)
        self.watches_config = True
        self.is_broken = False
        self.read = 0

    def look_at_config(self) -> Mark:
        return self.file

    async def reload(self) -> None:
        self.read += 1
        self.config_mark = self.file
        if self.is_broken:
            raise ConfigError("config-invalid", "broken")


async def follow(managed: Managed, files: list[Mark]) -> list[int]:
    """What has been read after each look, where the file is another at each."""
    ticks = Changes()
    watching = asyncio.create_task(watch_config(cast("Manager", managed), ticks))
    await asyncio.sleep(0)
    read = []
    for file in files:
        managed.file = file
        ticks.notify()
        for _ in range(5):
            await asyncio.sleep(0)
        read.append(managed.read)
    watching.cancel()
    await asyncio.wait([watching])
    return read


OLD, HALF, NEW = (1, 1, 1), (2, 5, 1), (2, 9, 1)


@pytest.mark.parametrize(
    ("files", "read"),
    [
        ([OLD, OLD, OLD], [0, 0, 0]),
        ([NEW, NEW, NEW], [0, 1, 1]),
        ([HALF, NEW, NEW, NEW], [0, 0, 1, 1]),
        ([None, NEW, NEW], [0, 0, 1]),
        ([None, None, None, OLD, OLD], [0, 1, 1, 1, 2]),
        ([NEW, NEW, OLD, OLD], [0, 1, 1, 2]),
    ],
)
def test_it_is_reread_when_two_looks_agree(files: list[Mark], read: list[int]) -> None:
    assert asyncio.run(follow(Managed(), files)) == read


def test_a_broken_file_is_read_once(caplog: pytest.LogCaptureFixture) -> None:
    managed = Managed()
    managed.is_broken = True
    assert asyncio.run(follow(managed, [NEW, NEW, NEW, HALF, HALF])) == [0, 1, 1, 1, 2]
    assert "broken" in caplog.text


def test_it_may_be_switched_off() -> None:
    managed = Managed()
    managed.watches_config = False
    assert asyncio.run(follow(managed, [NEW, NEW, NEW])) == [0, 0, 0]
