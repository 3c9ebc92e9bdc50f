"""A file of JSON objects, one a line, that is added to and now and then written anew.

A line that was cut off, by a full disk or by the end of the machine, costs that line and no other.
What the objects say is not known here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

_log = logging.getLogger(__name__)

_LONGEST_LINE: Final = 1 << 20


class Record:
    """The file at `path`, 0600. Where it cannot be written, that is said once in the log."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._complains = True

    def read(self) -> Iterator[dict[str, Any]]:
        """The objects of all lines that hold one, in order."""
        try:
            with open(self._path, "rb") as file:
                while line := file.readline(_LONGEST_LINE):
                    try:
                        entry = json.loads(line)
                    except (ValueError, RecursionError):
                        continue
                    if isinstance(entry, dict):
                        yield entry
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                _log.warning("cannot read %s: %s", self._path, error.strerror)

    def append(self, entry: Mapping[str, Any]) -> bool:
        """Add a line; after a False, which leaves a part of it or nothing, only `replace` makes it good."""
        line = _line(entry)
        try:
            if self._descriptor is None:
                self._descriptor = self._open(self._path, os.O_APPEND)
            if os.write(self._descriptor, line) != len(line):
                return False
        except OSError as error:
            self._complain(error)
            self.close()
            return False
        self._complains = True
        return True

    def replace(self, entries: Iterable[Mapping[str, Any]]) -> bool:
        """Put these lines in place of all; False where the file is left as it was."""
        temporary = f"{self._path}.new"
        try:
            with open(self._open(temporary, os.O_TRUNC), "wb") as file:
                file.writelines(map(_line, entries))
            os.replace(temporary, self._path)
        except OSError as error:
            self._complain(error)
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            return False
        self.close()
        self._complains = True
        return True

    def close(self) -> None:
        """Give back the descriptor; the next line opens the file again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @staticmethod
    def _open(path: str, flags: int) -> int:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)
        os.fchmod(descriptor, 0o600)
        return descriptor

    def _complain(self, error: OSError) -> None:
        if self._complains:
            self._complains = False
            _log.warning("cannot write %s: %s; the history will have a gap", self._path, error.strerror)


def _line(entry: Mapping[str, Any]) -> bytes:
    text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="replace") + b"\n"
