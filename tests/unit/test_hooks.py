"""When hooks are run, in virtual time: in turns, in order, a few at once, none for a moment's suspicion."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from jtunnel.errors import JTunnelError
from jtunnel.status import State
from jtunnel.telling.children import Children, Ended
from jtunnel.telling.hooks import PATIENCE_S, Hooks
from tests.support.told import DENIED, LOST, REFUSED, Life
from tests.support.virtual_time import let_run, run_virtually

PAGE = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "hooks.md")
HOOKS = {"on_up": ("up",), "on_down": ("down",), "on_blocked": ("blocked",)}


@dataclass
class Programs:
    """Stands for the programs: each takes `takes_s`, and is noted with its variables when it begins."""

    takes_s: float = 0.0
    error: Exception | None = None
    output: str = ""
    code: int = 0
    begun: list[Mapping[str, str]] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    async def run(self, argv: Sequence[str], more: Mapping[str, str], *, timeout_s: float) -> Ended:
        if self.error:
            raise self.error
        assert more["JTUNNEL_EVENT"] == f"on_{argv[0]}"
        self.begun.append(more)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.running -= 1
        return Ended(self.code, self.output, late=False)

    @property
    def events(self) -> list[str]:
        return [each["JTUNNEL_EVENT"] for each in self.begun]


Tell = Callable[..., None]


def watch(script: Callable[[Tell, Hooks], Coroutine[Any, Any, None]], programs: Programs) -> None:
    """Run a script that tells the hooks what tunnels come to."""

    async def main() -> None:
        lives: dict[str, Life] = {}
        async with asyncio.TaskGroup() as tasks:
            hooks = Hooks(tasks, cast("Children", programs))

            def tell(
                state: State,
                error: JTunnelError | None = None,
                *,
                name: str = "gpu",
                outage_s: float | None = None,
            ) -> None:
                life = lives.setdefault(name, Life(name, **HOOKS))
                url = "http://localhost:8888/lab" if state == "up" else None
                hooks.tell(life.profile, life.become(state, error, url=url), outage_s)

            await script(tell, hooks)
            await hooks.close()

    run_virtually(main())


def test_each_hook_has_its_moment() -> None:
    programs = Programs()

    async def script(tell: Tell, hooks: Hooks) -> None:
        tell("connecting")
        tell("up")
        await let_run()
        assert programs.events == ["on_up"]
        tell("retrying", LOST)
        await asyncio.sleep(PATIENCE_S + 1)
        assert programs.events == ["on_up", "on_down"]
        tell("connecting")
        tell("up", outage_s=4.25)
        tell("blocked", DENIED)
        await let_run()
        assert programs.events[2:] == ["on_up", "on_down", "on_blocked"]
        tell("connecting")
        tell("up")
        tell("down")
        await let_run()
        assert programs.events[5:] == ["on_up", "on_down"]

    watch(script, programs)
    first, lost, again, down, blocked = programs.begun[:5]
    assert first == {
        "JTUNNEL_EVENT": "on_up",
        "JTUNNEL_PROFILE": "gpu",
        "JTUNNEL_HOST": "gpu-box",
        "JTUNNEL_STATE": "up",
        "JTUNNEL_OLD_STATE": "connecting",
        "JTUNNEL_PROBLEM": "",
        "JTUNNEL_MESSAGE": "",
        "JTUNNEL_ADVICE": "",
        "JTUNNEL_URL": "http://localhost:8888/lab",
        "JTUNNEL_OUTAGE_SECONDS": "",
    }
    assert (lost["JTUNNEL_STATE"], lost["JTUNNEL_OLD_STATE"]) == ("retrying", "up")
    assert (lost["JTUNNEL_PROBLEM"], lost["JTUNNEL_MESSAGE"]) == (LOST.kind, LOST.message)
    assert again["JTUNNEL_OUTAGE_SECONDS"] == "4.2"
    for each in (down, blocked):
        assert (each["JTUNNEL_STATE"], each["JTUNNEL_ADVICE"]) == ("blocked", "check the key")


def test_the_page_about_hooks_names_all_that_they_are_told() -> None:
    programs = Programs()

    async def script(tell: Tell, hooks: Hooks) -> None:
        tell("up")
        await let_run()

    watch(script, programs)
    with open(PAGE, encoding="utf-8") as file:
        named = re.findall(r"^\| `(JTUNNEL_\w+)` \|", file.read(), flags=re.MULTILINE)
    assert named == list(programs.begun[0])


def test_a_suspicion_that_ends_soon_runs_nothing() -> None:
    programs = Programs()

    async def script(tell: Tell, hooks: Hooks) -> None:
        tell("up")
        for _ in range(3):
            await asyncio.sleep(10)
            tell("retrying", LOST)
            await asyncio.sleep(PATIENCE_S / 2)
            tell("connecting")
            await asyncio.sleep(PATIENCE_S / 2 - 0.1)
            tell("up")
        await asyncio.sleep(10)

    watch(script, programs)
    assert programs.events == ["on_up"]


def test_patience_is_counted_from_the_loss_and_the_word_that_says_why_is_passed_on() -> None:
    programs = Programs()

    async def script(tell: Tell, hooks: Hooks) -> None:
        tell("up")
        tell("connecting")
        await asyncio.sleep(2)
        tell("retrying", REFUSED)
        tell("connecting")
        await asyncio.sleep(PATIENCE_S - 2 + 0.1)
        assert programs.events == ["on_up", "on_down"]

    watch(script, programs)
    assert programs.begun[1]["JTUNNEL_PROBLEM"] == REFUSED.kind
    assert programs.begun[1]["JTUNNEL_OLD_STATE"] == "up"


def test_a_tunnel_that_was_never_up_does_not_go_down() -> None:
    programs = Programs()

    async def script(tell: Tell, hooks: Hooks) -> None:
        tell("connecting")
        tell("retrying", REFUSED)
        await asyncio.sleep(100)
        tell("blocked", DENIED)
        tell("down")
        await let_run()

    watch(script, programs)
    assert programs.events == ["on_blocked"]


def test_one_after_another_for_each_tunnel_and_four_at_once_over_all() -> None:
    programs = Programs(takes_s=10)

    async def script(tell: Tell, hooks: Hooks) -> None:
        tell("up")
        tell("down")
        tell("up")
        await asyncio.sleep(15)
        assert programs.events == ["on_up", "on_down"]
        assert programs.most_running == 1
        for number in range(9):
            tell("up", name=f"t{number}")
        await asyncio.sleep(100)

    watch(script, programs)
    assert programs.most_running == 4
    assert len(programs.begun) == 3 + 9


def test_of_too_many_that_wait_the_oldest_are_left_out_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    programs = Programs(takes_s=60)

    async def script(tell: Tell, hooks: Hooks) -> None:
        tell("up")
        await let_run()
        for _ in range(10):
            tell("down")
            tell("up")
        await asyncio.sleep(1000)

    watch(script, programs)
    # The one that ran, and the last eight.
    assert programs.events == ["on_up", *["on_down", "on_up"] * 4]
    assert caplog.text.count("is left out: too many wait for a slow one") == 12


def test_closing_ends_what_runs_and_begins_nothing() -> None:
    programs = Programs(takes_s=60)

    async def script(tell: Tell, hooks: Hooks) -> None:
        tell("up")
        tell("down")
        tell("up", name="other")
        await let_run()
        tell("retrying", LOST, name="other")
        await hooks.close()
        assert programs.running == 0
        await asyncio.sleep(100)

    watch(script, programs)
    assert programs.events == ["on_up", "on_up"]


def test_what_a_hook_says_is_in_the_log_and_harmless(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    programs = Programs(output="one\n\x1b[31mtwo\n\n" + "more\n" * 100, code=3)

    async def script(tell: Tell, hooks: Hooks) -> None:
        tell("up")
        await let_run()

    watch(script, programs)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:2] == ["on_up: one", "on_up: [31mtwo"]
    assert len(lines) == 21
    assert lines[-1] == "on_up failed: exit code 3"
    assert {getattr(record, "tunnel", None) for record in caplog.records} == {"gpu"}


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No such file or directory"), ValueError("embedded null byte")]
)
def test_one_that_cannot_be_run_is_a_line_in_the_log_and_the_next_is_run(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    programs = Programs(error=error)

    async def script(tell: Tell, hooks: Hooks) -> None:
        tell("up")
        await let_run()
        assert len(caplog.records) == 1
        programs.error = None
        tell("down")
        await let_run()

    watch(script, programs)
    assert programs.events == ["on_down"]


def test_without_hooks_nothing_happens() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            hooks = Hooks(tasks, cast("Children", Programs(error=AssertionError())))
            life = Life()
            for state in ("up", "retrying", "up", "blocked", "down"):
                hooks.tell(life.profile, life.become(state))
            await let_run()

    run_virtually(main())
