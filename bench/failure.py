"""What ends one measurement or the whole run, in words for the terminal."""

from __future__ import annotations


class BenchError(Exception):
    """Something that measuring needs is missing or went wrong; the text is a whole line for a person."""


class MissingError(BenchError):
    """A program is not installed; the text names the package."""
