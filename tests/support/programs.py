"""Finding the programs that a test runs beside jtunnel. Installs none: tests/setup/system.sh does."""

from __future__ import annotations

import shutil

import pytest

from tests.support.home import SYSTEM_PATH


def find_program(*names: str) -> str:
    """The path of the first that is installed; else the test is skipped, which fails a CI run."""
    for name in names:
        if found := shutil.which(name, path=SYSTEM_PATH):
            return found
    pytest.skip(f"not installed: {' or '.join(names)} (see tests/setup/system.sh)")
