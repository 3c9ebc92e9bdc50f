"""The command line of the benchmark: what to measure, how much of it, where the figures go."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final, TextIO

import psutil

from bench import machine
from bench.effort import FULL, QUICK, Effort
from bench.failure import BenchError, MissingError
from bench.figures import Section
from bench.load import STALL_TIMEOUT_S
from bench.measure import bulk, client, connections, memory, roundtrip, startup
from bench.place import Place, open_place
from bench.table import render, to_json

MEASUREMENTS: Final[dict[str, Callable[[Place, Effort], Section]]] = {
    "bulk": bulk.measure,
    "roundtrip": roundtrip.measure,
    "connections": connections.measure,
    "startup": startup.measure,
    "memory": memory.measure,
    "client": client.measure,
}
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130
_INTERRUPTS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class Outcome:
    """The sections measured, and by name why others were left out."""

    sections: list[Section] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    exit_code: int = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print each section as it is done, and return the exit code."""
    given = parse_arguments(argv)
    for number in _INTERRUPTS:
        signal.signal(number, _interrupt)
    try:
        with contextlib.ExitStack() as stack:
            # Opened before anything is measured: a wrong path is known at once.
            file = stack.enter_context(open(given.json, "w")) if given.json else None
            return _run(given, file)
    except KeyboardInterrupt:
        print("bench: interrupted; everything is ended and removed", file=sys.stderr)
        return EXIT_INTERRUPTED
    except (BenchError, OSError) as error:
        print(f"bench: {_reason(error)}", file=sys.stderr)
        return EXIT_FAILED


def _run(given: argparse.Namespace, file: TextIO | None) -> int:
    started_at = time.monotonic()
    facts = machine.gather_facts()
    _put(["jtunnel against ssh and autossh", "", *machine.fact_lines(facts)])
    with open_place() as place:
        try:
            outcome = _measure_all(place, QUICK if given.quick else FULL, given.only)
        finally:
            _ignore_interrupts()
    took_s = time.monotonic() - started_at
    _put([f"Took {took_s:.0f} s; load {machine.format_load()} at the end."])
    if file:
        document: dict[str, Any] = {
            "schema": 1,
            "facts": facts,
            "quick": given.quick,
            "took_s": round(took_s, 1),
            "sections": [to_json(section) for section in outcome.sections],
            "left_out": outcome.left_out,
        }
        json.dump(document, file, indent=1)
        file.write("\n")
    return outcome.exit_code


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; argparse ends the program where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure jtunnel against ssh and autossh on this machine."
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller sizes: rough figures")
    parser.add_argument("--json", metavar="FILE", help="write every figure of every round to FILE as well")
    parser.add_argument(
        "--only",
        metavar="NAME,…",
        type=_names,
        default=list(MEASUREMENTS),
        help=f"measure some of: {', '.join(MEASUREMENTS)}",
    )
    return parser.parse_args(argv)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in MEASUREMENTS] or ([] if names else [text]):
        known = ", ".join(MEASUREMENTS)
        raise argparse.ArgumentTypeError(f"there is no measurement {unknown[0]!r}; there are {known}")
    return [name for name in MEASUREMENTS if name in names]


def _measure_all(place: Place, effort: Effort, names: Sequence[str]) -> Outcome:
    """Measure one after another; one that fails does not end the rest."""
    outcome = Outcome()
    for name in names:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        try:
            section = MEASUREMENTS[name](place, effort)
        except (BenchError, OSError, psutil.Error, subprocess.SubprocessError) as error:
            reason = _reason(error)
            outcome.left_out[name] = reason
            # What is not installed was not promised; all else is a failure.
            if not isinstance(error, MissingError):
                outcome.exit_code = EXIT_FAILED
            _put([f"{name}: left out: {reason}"])
        else:
            outcome.sections.append(section)
            _put(render(section))
    return outcome


def _reason(error: Exception) -> str:
    if isinstance(error, BlockingIOError):  # how a socket's own timeout ends
        return f"a tunnel carried nothing for {STALL_TIMEOUT_S:.0f} s"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _put(lines: Sequence[str]) -> None:
    print("\n".join([*lines, ""]), flush=True)


def _ignore_interrupts() -> None:
    """From here on what was started is ended in order, however often Ctrl-C is pressed."""
    for number in _INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _ignore_interrupts()
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
