"""The command line of the outage benchmark: which outages, how often, where the figures go."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import FrameType
from typing import Any, Final

from bench import machine
from bench.failure import BenchError, MissingError
from bench.figures import Row, Section
from bench.outage.cases import CASES, Case
from bench.outage.contenders import JTUNNEL, RIVALS
from bench.outage.round import PATIENCE_S
from bench.processes import find
from bench.table import render, to_json
from tests.support import processes

ROUNDS: Final = 5
#: Rounds at the same time: they wait most of the time, and what they measure needs a processor to itself.
WIDTH: Final = 3
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130
_ROUND_TIMEOUT_S: Final = 400.0
_END_TIMEOUT_S: Final = 30.0
_INTERRUPTS: Final = (signal.SIGINT, signal.SIGTERM)

#: For each contender's name, what one round found.
Results = dict[str, dict[str, Any]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return the exit code."""
    given = _parse_arguments(argv)
    os.environ.setdefault(processes.MARK, secrets.token_hex(8))
    for number in _INTERRUPTS:
        signal.signal(number, _interrupt)
    try:
        _check_machine()
        return _run(given)
    except KeyboardInterrupt:
        print("bench: interrupted; everything is ended and removed", file=sys.stderr)
        return EXIT_INTERRUPTED
    except (BenchError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return EXIT_FAILED


def _check_machine() -> None:
    """Raise BenchError where the lab cannot be built here."""
    if sys.platform != "linux":
        raise BenchError("the outage lab is made of Linux network namespaces; run it on Linux")
    if os.geteuid() != 0:
        raise BenchError(
            "the outage lab is made of network namespaces, which need root; run it as root: make bench-outage"
        )
    missing = []
    for program in ("ip", "nft", "conntrack", "ssh", "sshd", "autossh"):
        try:
            find(program)
        except MissingError:
            missing.append(program)
    if missing:
        raise MissingError(f"not installed: {', '.join(missing)}; install it: sh tests/setup/system.sh")


def _run(given: argparse.Namespace) -> int:
    started_at = time.monotonic()
    rounds = 1 if given.quick else given.rounds
    facts = machine.gather_facts()
    with contextlib.ExitStack() as stack:
        # Opened before anything is measured: a wrong path is known at once.
        file = stack.enter_context(open(given.json, "w")) if given.json else None
        _put(["jtunnel, autossh and ssh after an outage", "", *_fact_lines(facts)])
        found, failed = _measure(given.only, rounds)
        sections = make_sections([case for case in given.only if found[case.name]], found)
        for section in sections:
            _put(render(section))
        _put([f"Took {time.monotonic() - started_at:.0f} s; load {machine.format_load()} at the end."])
        if file:
            document = {
                "schema": 1,
                "facts": facts,
                "rounds": rounds,
                "sections": [to_json(section) for section in sections],
                "failed": failed,
            }
            json.dump(document, file, indent=1)
            file.write("\n")
    return EXIT_FAILED if failed else 0


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.outage",
        description="Measure how soon jtunnel, autossh and ssh work again after the same outages.",
    )
    parser.add_argument("--quick", action="store_true", help="each outage once: rough figures")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each ({ROUNDS})")
    parser.add_argument("--json", metavar="FILE", help="write every figure of every round to FILE as well")
    names = "; ".join(case.name for case in CASES)
    parser.add_argument(
        "--only",
        metavar="WORDS",
        type=choose_cases,
        default=CASES,
        help=f"those that have WORDS in them: {names}",
    )
    return parser.parse_args(argv)


def choose_cases(words: str) -> list[Case]:
    """The outages with these words in their names; argparse's error where there is none."""
    if not (found := [case for case in CASES if words in case.name]):
        raise argparse.ArgumentTypeError(f"there is no outage with {words!r} in its name")
    return found


def _measure(cases: Sequence[Case], rounds: int) -> tuple[dict[str, list[Results]], list[str]]:
    """All rounds of all cases; one that fails does not end the rest, and is named."""
    found: dict[str, list[Results]] = {case.name: [] for case in cases}
    failed: list[str] = []
    with _workers() as start:
        running = [(case, start(case)) for _ in range(rounds) for case in cases]
        for number, (case, results) in enumerate(running, 1):
            try:
                found[case.name].append(results.result())
            except BenchError as error:
                failed.append(f"{case.name}: {error}")
                print(f"{case.name}: left out: {error}", file=sys.stderr)
            print(f"{number} of {len(running)} outages are over", file=sys.stderr, flush=True)
    return found, failed


@contextlib.contextmanager
def _workers() -> Iterator[Any]:
    """Runs rounds in processes of their own, some at a time; at the end none of them is left."""
    started: list[subprocess.Popen[str]] = []

    def run(case: Case) -> Results:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.outage.round", case.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            # Ctrl-C is ours alone, who then end everything in order.
            start_new_session=True,
        )
        started.append(process)
        told, said = process.communicate(timeout=_ROUND_TIMEOUT_S)
        if process.returncode:
            raise BenchError((said.strip() or "it ended").splitlines()[-1])
        results: Results = json.loads(told)
        return results

    pool = ThreadPoolExecutor(WIDTH)

    def start(case: Case) -> Future[Results]:
        return pool.submit(run, case)

    try:
        yield start
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in started:
            if process.poll() is None:
                process.terminate()
        pool.shutdown(wait=True)
        # Of a round that could not clean up after itself.
        left = processes.running_with(processes.MARK, os.environ[processes.MARK])
        processes.kill(processes.await_end(left, _END_TIMEOUT_S if started else 0.0))


def make_sections(cases: Sequence[Case], found: dict[str, list[Results]]) -> list[Section]:
    """The tables, from what each round of each case found."""
    usable = [_row(case, found, "usable_s", "s", "less") for case in cases]
    refused = [_row(case, found, "refused", "requests", "less") for case in cases]
    waited = [_row(case, found, "waited", "requests", "more") for case in cases if case.seconds]
    rounds = max(len(results) for results in found.values())
    sections = [
        Section(
            "usable",
            "Usable again: from the return of the network to the first answer to a request begun after it, "
            f"median of {rounds}",
            ours=[JTUNNEL],
            rivals=RIVALS,
            rows=usable,
            remarks=[f"{PATIENCE_S:.1f} stands for: not within {PATIENCE_S:.0f} s."],
        ),
        Section(
            "refused",
            "Requests refused until it works again (two a second, from the return on twenty)",
            [JTUNNEL],
            RIVALS,
            refused,
        ),
        Section("waited", "Requests begun meanwhile and answered afterwards", [JTUNNEL], RIVALS, waited),
    ]
    return [section for section in sections if section.rows]


def _row(case: Case, found: dict[str, list[Results]], figure: str, unit: str, better: Any) -> Row:
    row = Row(case.name, unit, better)
    for results in found[case.name]:
        for name, result in results.items():
            row.add(name, result[figure])
    return row


def _fact_lines(facts: dict[str, str]) -> list[str]:
    return [
        *(f"  {name:<12} {value}" for name, value in facts.items()),
        "",
        "  A laptop, a NAT router and a server in network namespaces. All contenders suffer the same outage",
        "  at the same time; two requests a second come to each. A ratio is jtunnel divided by the other.",
    ]


def _put(lines: Sequence[str]) -> None:
    print("\n".join([*lines, ""]), flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    for each in _INTERRUPTS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
