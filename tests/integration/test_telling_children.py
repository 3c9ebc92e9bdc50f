"""Programs that the daemon runs, for real: their environment, their end, what they leave behind."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
import uvloop

from jtunnel.telling.children import Children
from tests.support import processes

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]
WAIT_S = 20.0


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run[Any]:
    """Runs a coroutine in each of the loops that the daemon may have."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else None

    def run_in(main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main)

    return run_in


@pytest.fixture
def children(tmp_path: Path) -> Children:
    mark = {processes.MARK: os.environ[processes.MARK]}
    return Children({"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C", **mark})


def sh(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def ended(pid: int) -> bool:
    try:
        return not processes.await_end([psutil.Process(pid)], WAIT_S)
    except psutil.NoSuchProcess:
        return True


def test_it_has_its_variables_the_home_a_group_and_no_input(
    run: Run[Any], children: Children, tmp_path: Path
) -> None:
    script = (
        "import os, sys; "
        "print(os.environ['X'], os.getcwd(), os.getpgrp() == os.getpid(), sys.stdin.read() == '')"
    )
    done = run(children.run([sys.executable, "-c", script], {"X": "ü"}, timeout_s=WAIT_S))
    assert done.output.split() == ["ü", str(tmp_path), "True", "True"]
    assert (done.code, done.late) == (0, False)


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -9 $$", -9)])
def test_its_exit_code(run: Run[Any], children: Children, script: str, code: int) -> None:
    assert run(children.run(sh(f"echo no >&2; {script}"), {}, timeout_s=WAIT_S)).code == code


def test_it_may_say_much_and_little_is_kept(run: Run[Any], children: Children) -> None:
    done = run(children.run(sh("head -c 20000000 /dev/zero | tr '\\0' x; exit 5"), {}, timeout_s=WAIT_S))
    assert (done.code, done.output) == (5, "x" * 4096)


def test_one_that_cannot_be_started(run: Run[Any], children: Children) -> None:
    for program, error in (("/nowhere/at-all", FileNotFoundError), (os.getcwd(), PermissionError)):
        with pytest.raises(error) as caught:
            run(children.run([program], {}, timeout_s=WAIT_S))
        assert caught.value.strerror


def test_one_that_takes_too_long_is_ended_with_all_it_started(
    run: Run[Any], children: Children, tmp_path: Path
) -> None:
    # Neither heeds a polite word.
    (tmp_path / "stubborn").write_text("trap '' TERM; echo $$ > inner; sleep 1000 & wait; sleep 1000")
    script = "trap '' TERM; sh ./stubborn & echo begun; wait; sleep 1000"
    begun = time.monotonic()
    done = run(children.run(sh(script), {}, timeout_s=0.5))
    assert done.late
    assert done.output == "begun\n"
    assert time.monotonic() - begun < 5
    assert ended(int((tmp_path / "inner").read_text()))


def test_one_that_heeds_a_polite_word_can_tidy_up(run: Run[Any], children: Children) -> None:
    script = "trap 'echo tidied; exit 0' TERM; sleep 1000 & wait"
    done = run(children.run(sh(script), {}, timeout_s=0.5))
    assert (done.late, done.output) == (True, "tidied\n")


def test_what_is_left_in_the_background_is_not_waited_for_nor_disturbed(
    run: Run[Any], children: Children, tmp_path: Path
) -> None:
    # It says much more than a pipe holds, and notes whether it could.
    background = (
        "(while [ ! -e go ]; do sleep 0.02; done; head -c 300000 /dev/zero && echo fine > said; sleep 1000)"
    )

    async def main() -> int:
        async with asyncio.timeout(5):
            done = await children.run(sh(f"{background} & echo $!"), {}, timeout_s=WAIT_S)
        (tmp_path / "go").touch()
        async with asyncio.timeout(WAIT_S):
            while not (tmp_path / "said").exists():
                await asyncio.sleep(0.02)
        children.close()
        return int(done.output)

    pid = run(main())
    assert processes.is_live(psutil.Process(pid))
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    processes.kill(family)


def test_cancelling_ends_it(run: Run[Any], children: Children, tmp_path: Path) -> None:
    async def main() -> None:
        task = asyncio.create_task(children.run(sh("echo $$ > pid; sleep 1000"), {}, timeout_s=1000))
        async with asyncio.timeout(WAIT_S):
            while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
                await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert ended(int((tmp_path / "pid").read_text()))


def test_cancelling_at_any_moment_leaves_nothing(run: Run[Any], children: Children) -> None:
    async def main() -> None:
        for rounds in range(16):
            task = asyncio.create_task(children.run(["sleep", "1000"], {}, timeout_s=1000))
            for _ in range(rounds % 8):
                await asyncio.sleep(0.002 * (rounds // 8))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main())
    assert not [process for process in processes.children() if "1000" in process.cmdline()]
