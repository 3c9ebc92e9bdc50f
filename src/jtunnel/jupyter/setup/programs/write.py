"""Writes files on the host, all of them or none; knows nothing of what is in them.

Runs on the host as `python -c`, so it needs no more than Python 3.6. Standard input is a JSON object:
`changes`, each with a `path`, the SHA-256 that the file must have `before` (null: there must be none), its
new `text` (null: it goes), its `mode` and the path of a `backup` (null: none); `remove`, copies that are no
longer needed; `directories` that go if they are empty. The answer is a line of JSON.
"""

import hashlib
import json
import os
import shutil
import signal
import sys
import time
from typing import Any

NEW = ".jtunnel-new"
OLD = ".jtunnel-old"
ABANDONED_S = 60


class ChangedError(Exception):
    """Somebody else has changed a file since it was looked at."""


def digest(path: str) -> "str | None":
    """The SHA-256 of a file; None where there is none."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except FileNotFoundError:
        return None


class Writing:
    """Some changes on their way: staged beside their places, then put there, or all taken back."""

    def __init__(self, changes: "list[dict[str, Any]]") -> None:
        self.changes = changes
        self.made: list[str] = []
        self.staged: list[str] = []
        self.kept: list[str] = []
        self.done: list[dict[str, Any]] = []
        self.at = ""

    def run(self) -> None:
        """Do it. Raises OSError and ChangedError; then everything is as it was."""
        try:
            for change in self.changes:
                self.at = change["path"]
                self.stage(change)
            for change in self.changes:
                self.at = change["path"]
                self.keep(change)
            for change in self.changes:
                self.at = change["path"]
                self.put(change)
        except BaseException:
            self.take_back()
            raise
        for change in self.changes:
            if not change.get("backup"):
                remove(change["path"] + OLD)

    def stage(self, change: "dict[str, Any]") -> None:
        """Write the new text beside its place: a full disk shows here."""
        self.make_directory(os.path.dirname(change["path"]))
        if change["text"] is None:
            return
        path = change["path"] + NEW
        if is_fresh(path):
            raise ChangedError(path)
        remove(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self.staged.append(path)
        with os.fdopen(descriptor, "wb") as file:
            file.write(change["text"].encode("utf-8"))
            file.flush()
            os.fchmod(descriptor, change["mode"])
            os.fsync(descriptor)

    def make_directory(self, path: str) -> None:
        """Make a directory and those above it that are missing, for this user only."""
        if path and not os.path.isdir(path):
            self.make_directory(os.path.dirname(path))
            os.mkdir(path, 0o700)
            self.made.append(path)

    def keep(self, change: "dict[str, Any]") -> None:
        """Keep what is there, as a backup or until all is done."""
        if digest(change["path"]) != change["before"]:
            raise ChangedError(change["path"])
        if change["before"] is None:
            return
        kept = change.get("backup") or change["path"] + OLD
        remove(kept)
        self.kept.append(kept)
        try:
            os.link(change["path"], kept)
        except OSError:  # some file systems have no links
            shutil.copy2(change["path"], kept)

    def put(self, change: "dict[str, Any]") -> None:
        """The moment from which on it counts."""
        if change["text"] is None:
            remove(change["path"])
        else:
            os.replace(change["path"] + NEW, change["path"])
        self.done.append(change)

    def take_back(self) -> None:
        """Put everything back as it was."""
        for change in reversed(self.done):
            if change["before"] is None:
                remove(change["path"])
            else:
                os.replace(change.get("backup") or change["path"] + OLD, change["path"])
        for path in self.staged + self.kept:
            remove(path)
        for path in reversed(self.made):
            remove_if_empty(path)


def is_fresh(path: str) -> bool:
    """Whether another writing that goes on has staged this; an older one was left by one that was ended."""
    try:
        return abs(time.time() - os.stat(path).st_mtime) < ABANDONED_S
    except FileNotFoundError:
        return False


def remove(path: str) -> None:
    """Remove a file that may not be there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def remove_if_empty(path: str) -> None:
    """Remove a directory unless something is in it."""
    try:
        os.rmdir(path)
    except OSError:
        return


def write(order: "dict[str, Any]") -> "dict[str, Any]":
    """Carry it out; the answer says how it went."""
    writing = Writing(order["changes"])
    try:
        writing.run()
    except (ChangedError, FileExistsError):
        return {"changed": writing.at}
    except OSError as error:
        return {"failed": error.strerror or str(error), "path": writing.at}
    for path in order.get("remove", ()):
        remove(path)
    for path in order.get("directories", ()):
        remove_if_empty(path)
    return {"done": True, "made": writing.made}


if __name__ == "__main__":
    # A connection that is lost in the midst of it must not leave a half.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o077)
    sys.stdout.write(json.dumps(write(json.loads(sys.stdin.buffer.read().decode("utf-8")))) + "\n")
