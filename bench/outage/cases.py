"""The outages that are measured: a fault of the lab, and for how long it lasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.support.lab.outage import FAULTS, Fault


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table; with `asleep` every contender is stopped while it lasts."""

    name: str
    fault: Fault
    seconds: float
    asleep: bool = False


def _case(fault: str, seconds: float) -> Case:
    return Case(f"{fault}, {seconds:g} s", FAULTS[fault], seconds)


#: Those that take longest come first, since several run at a time.
CASES: Final = (
    _case("silent drop", 60),
    _case("link down", 30),
    _case("silent drop", 20),
    Case("NAT forgotten", FAULTS["NAT forgotten"], 0),
    Case("asleep 20 s, another address", FAULTS["another address"], 20, asleep=True),
    _case("silent drop", 10),
    _case("another route", 5),
    _case("another address", 5),
    _case("link down", 5),
    _case("sshd restarted", 5),
)
