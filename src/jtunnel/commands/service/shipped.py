"""The files that come with jtunnel beside its code, from an installed package or from the source tree."""

from __future__ import annotations

import os

import jtunnel


def read_shipped(directory: str, name: str) -> str:
    """The text of `directory/name` of the project's top level; a package has it in `shipped/`."""
    package = os.path.dirname(jtunnel.__file__)
    path = os.path.join(package, "shipped", name)
    if not os.path.exists(path):
        path = os.path.join(package, os.pardir, os.pardir, directory, name)
    with open(path, encoding="utf-8") as file:
        return file.read()
