"""What is told reaches the history, the hooks and the desktop; nothing of that can hurt who tells it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from jtunnel.telling.history import BEAT_S
from jtunnel.telling.teller import Teller
from tests.support import processes
from tests.support.told import LOST, Life, LoopClock
from tests.support.virtual_time import run_virtually

WAIT_S = 20.0


def entries(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "history.jsonl").read_text().splitlines()]


def test_a_beat_every_ten_minutes_while_something_is_wanted_and_nothing_happens(tmp_path: Path) -> None:
    def beats() -> int:
        return sum(entry.get("daemon") == "runs" and "format" not in entry for entry in entries(tmp_path))

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            teller = Teller(tasks, {}, str(tmp_path), clocks=LoopClock())
            life = Life()
            await asyncio.sleep(3600)
            assert beats() == 0
            teller.tell(life.profile, life.become("up"))
            await asyncio.sleep(3605)
            assert beats() == 6
            for state in ("retrying", "up"):
                await asyncio.sleep(BEAT_S - 100)
                teller.tell(life.profile, life.become(state))
            assert beats() == 6
            teller.tell(life.profile, life.become("down"))
            await asyncio.sleep(10_000)
            assert beats() <= 7
            teller.tell(life.profile, life.become("up"))
            await asyncio.sleep(2 * BEAT_S + 5)
            assert beats() >= 8
            await teller.close()

    run_virtually(main())


def test_the_end_of_the_daemon_is_nobodys_outage(tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            teller = Teller(tasks, {}, str(tmp_path))
            life = Life(on_down=("/bin/sh", "-c", "echo down > said"))
            teller.tell(life.profile, life.become("up"))
            await teller.close()
            teller.tell(life.profile, life.become("down"))
            assert entries(tmp_path)[-1]["daemon"] == "ends"
            assert teller.history(["gpu"])["tunnels"][0]["outages"] == []

    asyncio.run(main())


def test_hooks_are_told_how_long_it_was_away(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], processes.MARK: os.environ[processes.MARK]}

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            teller = Teller(tasks, environ, str(tmp_path))
            script = 'echo "$JTUNNEL_PROFILE $JTUNNEL_STATE $JTUNNEL_OUTAGE_SECONDS" >> said'
            life = Life(on_up=("/bin/sh", "-c", script), on_down=("/bin/sh", "-c", script))
            teller.tell(life.profile, life.become("up"))
            teller.tell(life.profile, life.become("blocked", LOST))
            teller.tell(life.profile, life.become("up"))
            async with asyncio.timeout(WAIT_S):
                while (
                    not (tmp_path / "said").exists() or len((tmp_path / "said").read_text().splitlines()) < 3
                ):
                    await asyncio.sleep(0.02)
            await teller.close()

    asyncio.run(main())
    assert (tmp_path / "said").read_text().splitlines() == ["gpu up ", "gpu blocked ", "gpu up 0.0"]


def test_a_state_directory_that_cannot_be_written_hurts_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            teller = Teller(tasks, {}, str(tmp_path / "gone"))
            life = Life()
            for _ in range(5):
                teller.tell(life.profile, life.become("up"))
                teller.tell(life.profile, life.become("retrying", LOST))
            assert len(teller.history(["gpu"])["tunnels"][0]["outages"]) == 5
            await teller.close()

    asyncio.run(main())
    assert len(caplog.records) == 1
