"""What a daily command costs: `jtunnel status` against an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from bench import sshd
from bench.contenders.jtunnel import Jtunnel, running_jtunnel
from bench.effort import Effort
from bench.failure import BenchError
from bench.figures import Contender, Row, Section
from bench.place import Place

_STATUS = "status"
_PYTHON = "python"
_BARE_PYTHON = "python -I -S"
_MS = 1000.0


def measure(place: Place, effort: Effort) -> Section:
    """Run each in turn, many times, with one tunnel up."""
    row = Row("from start to end", "ms", "less")
    commands = {
        _STATUS: Jtunnel.argv("status"),
        _PYTHON: [sys.executable, "-c", "pass"],
        _BARE_PYTHON: [sys.executable, "-I", "-S", "-c", "pass"],
    }
    with running_jtunnel(place, sshd.free_ports(1)):
        for argv in commands.values():
            _time(argv, place)
        for _ in range(effort.client_runs):
            for name, argv in commands.items():
                row.add(name, _time(argv, place) * _MS)
    return Section(
        "client",
        f"The client, median of {effort.client_runs} alternated runs",
        ours=[Contender(_STATUS, "jtunnel status with one tunnel up, asked of the running daemon")],
        rivals=[
            Contender(_PYTHON, "python -c pass with the same interpreter"),
            Contender(_BARE_PYTHON, "python -I -S -c pass: as little as it can start with"),
        ],
        rows=[row],
    )


def _time(argv: Sequence[str], place: Place) -> float:
    started_at = time.perf_counter()
    # No timeout: with one, subprocess looks for the end at 15.5, 31.5, … ms only.
    ended = subprocess.run(argv, env=place.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    took_s = time.perf_counter() - started_at
    if ended.returncode:
        raise BenchError(f"{argv[0]} exits {ended.returncode}")
    return took_s
