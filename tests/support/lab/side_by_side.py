"""Scenarios that take long and disturb each other little, run at the same time in labs of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import pytest

from tests.support.lab.tunnel import Access

_T = TypeVar("_T")

#: Runs one outage; the answer is what was measured, in one line.
Scenario = Callable[[Access], str]

#: How many at a time; they wait nearly all the time, but their starts and recoveries need a processor.
_WIDTH: Final = 5
#: Between two starts, so that faults do not come and go at the same moment everywhere.
_STAGGER_S: Final = 1.7


def run_chosen(
    request: pytest.FixtureRequest,
    scenarios: Mapping[str, Callable[[_T], str]],
    given: _T,
) -> Mapping[str, Future[str]]:
    """Run to their end those scenarios that this run's choice of tests needs; each outcome is its own.

    For a fixture of a file whose tests have the parameter `scenario`; all get what is `given`.
    """
    chosen = {
        item.callspec.params.get("scenario")
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and hasattr(item, "callspec")
    }
    gate = threading.Lock()

    def run(scenario: Callable[[_T], str]) -> str:
        with gate:
            time.sleep(_STAGGER_S)
        return scenario(given)

    with ThreadPoolExecutor(_WIDTH) as pool:
        return {name: pool.submit(run, scenario) for name, scenario in scenarios.items() if name in chosen}
