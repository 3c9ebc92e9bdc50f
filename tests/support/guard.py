"""A pytest plugin that keeps the run honest: root, skips, time limits, leftovers, a home of its own.

Without root, tests that need it are left out, counted and named; in CI a skip fails the run. No test sees
the account's real home, and none leaves a process behind.

With pytest-xdist's `-n` several processes share the tests, each a run of its own with its own home and mark;
the one that hands them out runs none, and knows what was left out from what they tell at their end.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support import processes

LONG_TEST_TIMEOUT_S = 900
LEFTOVER_GRACE_S = 3.0
ROOT_FIXTURES = {"remote_user"}

_home_key = pytest.StashKey[str]()
_environ_key = pytest.StashKey[Mapping[str, str]]()
_left_out_key = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Give the run, and all that it starts, a home of its own in place of the account's."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        # A shell has them ignored in what it runs in the background, and a child inherits that.
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
    home = tempfile.mkdtemp(prefix="jt-run-", dir="/tmp")
    config.stash[_home_key] = home
    config.stash[_environ_key] = getattr(config, "workerinput", {}).get("environ") or dict(os.environ)
    config.stash[_left_out_key] = []
    for name in list(os.environ):
        if name.startswith(("XDG_", "SSH_", "JUPYTER", "JTUNNEL_")) and not name.startswith("JTUNNEL_TEST_"):
            del os.environ[name]
    os.environ["HOME"] = home
    os.environ[processes.MARK] = secrets.token_hex(8)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Put the environment back and remove the run's home."""
    if (environ := config.stash.get(_environ_key, None)) is not None:
        os.environ.clear()
        os.environ |= environ
        shutil.rmtree(config.stash[_home_key])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell one of several processes the environment of whoever started them."""
    node.workerinput["environ"] = dict(node.config.stash[_environ_key])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear from one of several processes what it left out; each of them leaves out the same."""
    if left_out := getattr(node, "workeroutput", {}).get("left_out"):
        node.config.stash[_left_out_key] = left_out


@pytest.fixture(scope="session")
def outer_environ(pytestconfig: pytest.Config) -> Mapping[str, str]:
    """The environment that pytest was started with, for set-up that keeps its work between runs."""
    return pytestconfig.stash[_environ_key]


def in_ci() -> bool:
    """Whether this is a CI run, where nothing may be left out."""
    return os.environ.get("CI", "").lower() in {"true", "1"}


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Give long tests their time; without root, leave out those of the chosen tests that need it."""
    for item in items:
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LONG_TEST_TIMEOUT_S))
        if ROOT_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.root)
    yield
    if os.geteuid() == 0:
        return
    left_out = [item for item in items if item.get_closest_marker("root")]
    if left_out:
        config.stash[_left_out_key] += [item.nodeid for item in left_out]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _skipped(config: pytest.Config) -> list[str]:
    """The skips of this run; an expected failure is none."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return [report.nodeid for report in reporter.stats.get("skipped", [])] if reporter else []


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI, fail a run that skipped or left out a test."""
    if (told := getattr(session.config, "workeroutput", None)) is not None:
        told["left_out"] = session.config.stash[_left_out_key]
    missed = _skipped(session.config) + session.config.stash[_left_out_key]
    if in_ci() and missed and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Iterator[None]:
    """Name what was left out, below everything else."""
    yield
    if left_out := config.stash[_left_out_key]:
        plural = "s" if len(left_out) > 1 else ""
        names = ", ".join(sorted(left_out))
        terminalreporter.write_line(
            f"left out without root: {len(left_out)} test{plural}: {names}", yellow=True
        )
    if in_ci() and (skipped := _skipped(config)):
        terminalreporter.write_line(f"a skip is a failure in CI: {', '.join(skipped)}", red=True)


@pytest.fixture(autouse=True)
def no_leftover_processes() -> Iterator[None]:
    """Fail a test that leaves, after its own fixtures, a process that was not there before; kill it."""
    mark = os.environ[processes.MARK]
    before = {*processes.children(), *processes.running_with(processes.MARK, mark)}
    yield
    after = {*processes.children(), *processes.running_with(processes.MARK, mark)}
    if leftovers := processes.await_end(after - before, LEFTOVER_GRACE_S):
        described = processes.describe(leftovers)
        processes.kill(leftovers)
        pytest.fail(f"the test left processes behind, now killed: {described}", pytrace=False)
