"""When the desktop is told, in which words, in virtual time; the program that shows it is a stand-in."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from jtunnel.errors import JTunnelError
from jtunnel.status import State
from jtunnel.telling.children import Children, Ended
from jtunnel.telling.desktop import LONG_S, TOGETHER_S, Desktop
from tests.support.told import DENIED, LOST, REFUSED, Life, LoopClock
from tests.support.virtual_time import run_virtually

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="its words are notify-send's")


@dataclass
class Screen:
    """Stands for notify-send; `takes_s` is how long it takes."""

    takes_s: float = 0.0
    calls: list[list[str]] = field(default_factory=list)
    seen: int = 0

    async def run(self, argv: Sequence[str], more: Mapping[str, str], *, timeout_s: float) -> Ended:
        self.calls.append(list(argv))
        await asyncio.sleep(self.takes_s)
        return Ended(0, f"{len(self.calls)}\n", late=False)

    def new(self) -> list[tuple[str, str]]:
        """Titles and bodies of those that came since the last look."""
        fresh, self.seen = self.calls[self.seen :], len(self.calls)
        return [(call[-2], call[-1]) for call in fresh]


Tell = Callable[..., None]


@dataclass
class Scene:
    """What a script works with."""

    desktop: Desktop
    screen: Screen
    clock: LoopClock
    lives: dict[str, Life] = field(default_factory=dict)

    def tell(self, state: State, error: JTunnelError | None = None, *names: str, notify: bool = True) -> None:
        for name in names or ("gpu",):
            life = self.lives.setdefault(name, Life(name, notify=notify))
            self.desktop.tell(life.profile, life.become(state, error))


def play(
    tmp_path: Path, script: Callable[[Scene], Coroutine[Any, Any, None]], takes_s: float = 0.0
) -> list[list[str]]:
    program = tmp_path / "notify-send"
    program.write_text("")
    program.chmod(0o755)

    async def main() -> list[list[str]]:
        screen, clock = Screen(takes_s), LoopClock()
        async with asyncio.TaskGroup() as tasks:
            environ = {"PATH": str(tmp_path), "DBUS_SESSION_BUS_ADDRESS": "unix:path=/x"}
            desktop = Desktop(tasks, cast("Children", screen), environ, clocks=clock)
            await script(Scene(desktop, screen, clock))
            await desktop.close()
        return screen.calls

    return run_virtually(main())


def test_a_long_outage_and_its_end_in_one_notification(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        scene.tell("up")
        scene.tell("retrying", LOST)
        await asyncio.sleep(LONG_S - 1)
        assert scene.screen.new() == []
        await asyncio.sleep(2)
        assert scene.screen.new() == [
            ("gpu is away", "gpu-box has not answered for 12 s; jtunnel goes on trying by itself")
        ]
        await asyncio.sleep(100 - LONG_S - 1)
        scene.tell("connecting")
        scene.tell("up")
        await asyncio.sleep(TOGETHER_S + 1)
        assert scene.screen.new() == [("gpu is up again", "after 1 min 40 s")]

    first, second = play(tmp_path, script)
    assert first[1:4] == ["--print-id", "--app-name=jtunnel", "--urgency=normal"]
    assert second[1:3] == ["--print-id", "--replace-id=1"]


def test_a_short_outage_is_not_spoken_of(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        for _ in range(5):
            scene.tell("up")
            await asyncio.sleep(5)
            scene.tell("retrying", LOST)
            await asyncio.sleep(LONG_S - 5)
        scene.tell("down")
        await asyncio.sleep(100)

    assert play(tmp_path, script) == []


def test_off_unless_wanted_and_not_for_what_was_never_up(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        scene.tell("up", None, "quiet", notify=False)
        scene.tell("retrying", LOST, "quiet")
        scene.tell("retrying", REFUSED, "new")
        await asyncio.sleep(100)
        scene.tell("blocked", DENIED, "quiet")
        await asyncio.sleep(100)

    assert play(tmp_path, script) == []


def test_many_that_are_lost_together_share_one(tmp_path: Path) -> None:
    names = [f"t{number}" for number in range(30)]

    async def script(scene: Scene) -> None:
        scene.tell("up", None, *names)
        for name in names:
            scene.tell("retrying", LOST if name == "t0" else REFUSED, name)
            await asyncio.sleep(0.05)
        await asyncio.sleep(LONG_S + 5)
        assert scene.screen.new() == [("t0, t1, t2 and 27 more are away", "jtunnel goes on trying by itself")]
        for name in names[:28]:
            scene.tell("up", None, name)
            await asyncio.sleep(0.05)
        await asyncio.sleep(TOGETHER_S)
        ((title, body),) = scene.screen.new()
        assert title == "t0, t1, t2 and 25 more are up again"
        assert body.endswith("; still away: t28 and t29")

    play(tmp_path, script)


def test_after_a_sleep_everything_has_its_time_again(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        scene.tell("up", None, "gpu", "db")
        scene.tell("retrying", LOST, "gpu", "db")
        await asyncio.sleep(LONG_S - 2)
        scene.clock.slept_s += 8 * 3600
        # Awake again; the Wi-Fi takes some seconds.
        await asyncio.sleep(10)
        scene.tell("up", None, "db")
        await asyncio.sleep(LONG_S)
        assert [title for title, _ in scene.screen.new()] == ["gpu is away"]

    play(tmp_path, script)


def test_blocked_says_what_to_do_and_goes_when_that_is_done(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        scene.tell("connecting")
        scene.tell("blocked", DENIED)
        await asyncio.sleep(TOGETHER_S + 1)
        assert scene.screen.new() == [("gpu is blocked", "gpu-box refused the login; check the key")]
        await asyncio.sleep(1000)
        scene.tell("connecting")
        scene.tell("up")
        await asyncio.sleep(TOGETHER_S + 1)
        assert scene.screen.new() == [("gpu is up", "")]

    first, second = play(tmp_path, script)
    assert "--urgency=critical" in first
    assert "--replace-id=1" in second


def test_one_that_is_blocked_in_an_outage(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        scene.tell("up")
        scene.tell("retrying", LOST)
        await asyncio.sleep(10)
        scene.tell("blocked", DENIED)
        await asyncio.sleep(100)
        assert [title for title, _ in scene.screen.new()] == ["gpu is blocked"]
        scene.tell("connecting")
        scene.tell("up")
        await asyncio.sleep(TOGETHER_S + 1)
        assert scene.screen.new() == [("gpu is up again", "after 1 min 50 s")]

    play(tmp_path, script)


def test_several_that_are_blocked(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        scene.tell("blocked", DENIED, "gpu", "db")
        await asyncio.sleep(TOGETHER_S + 1)
        words = "gpu-box refused the login; check the key"
        assert scene.screen.new() == [("gpu and db are blocked", f"gpu: {words}\ndb: {words}")]
        scene.tell("up", None, "db")
        await asyncio.sleep(TOGETHER_S + 1)
        assert scene.screen.new() == [("db is up", "still blocked: gpu")]

    play(tmp_path, script)


def test_who_mends_it_at_once_is_not_told(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        scene.tell("blocked", DENIED)
        await asyncio.sleep(TOGETHER_S / 2)
        scene.tell("connecting")
        await asyncio.sleep(TOGETHER_S)
        scene.tell("up")
        await asyncio.sleep(100)

    assert play(tmp_path, script) == []


def test_up_for_a_moment_only_is_the_same_outage(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        scene.tell("up")
        scene.tell("retrying", LOST)
        await asyncio.sleep(LONG_S + 1)
        assert len(scene.screen.new()) == 1
        for _ in range(4):
            scene.tell("up")
            await asyncio.sleep(TOGETHER_S / 2)
            scene.tell("retrying", LOST)
            await asyncio.sleep(LONG_S)
        assert scene.screen.new() == []
        scene.tell("up")
        await asyncio.sleep(TOGETHER_S + 1)
        assert [title for title, _ in scene.screen.new()] == ["gpu is up again"]

    play(tmp_path, script)


def test_markup_is_shown_as_it_is(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        scene.tell("blocked", JTunnelError("auth-failed", r"<b>no</b> & C:\new"))
        await asyncio.sleep(TOGETHER_S + 1)

    ((*_, separator, title, body),) = play(tmp_path, script)
    assert (separator, title, body) == ("--", "gpu is blocked", r"&lt;b&gt;no&lt;/b&gt; &amp; C:\\new")


def test_a_slow_program_is_shown_the_newest_only(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        for number in range(5):
            scene.tell("blocked", DENIED, f"t{number}")
            await asyncio.sleep(TOGETHER_S + 1)
        await asyncio.sleep(100)
        assert [title for title, _ in scene.screen.new()] == [
            "t0 is blocked",
            "t0, t1, t2 and 2 more are blocked",
        ]

    play(tmp_path, script, takes_s=30)
