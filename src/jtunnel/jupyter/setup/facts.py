"""What was found on the host before anything is changed, as values: config files, certificates, ports."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from jtunnel.errors import ServerError
from jtunnel.service.ground import Ground
from jtunnel.service.script import Report
from jtunnel.service.survey import read_survey

CERTIFICATE_NAME: Final = "jtunnel-certificate.pem"
KEY_NAME: Final = "jtunnel-key.pem"
#: Where no kernel tells them: ports for root alone, and those handed out to whoever asks for any.
_RESERVED_BELOW: Final = 1024
_PASSING: Final = (49152, 65535)


@dataclass(frozen=True, slots=True)
class File:
    """A file of the host by its own path, links followed; `text` and `mode` are None where there is none."""

    path: str
    text: str | None
    mode: int | None = None
    is_link: bool = False

    @property
    def digest(self) -> str | None:
        """The SHA-256 of what is in it."""
        return None if self.text is None else digest(self.text)


@dataclass(frozen=True, slots=True)
class Entry:
    """What one config file sets, in sections; `name` is that of the file without its ending."""

    file: str
    name: str
    values: Mapping[str, Mapping[str, Any]]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Ports:
    """`taken` are those that somebody listens at, with his uid."""

    taken: Mapping[int, int]
    reserved_below: int = _RESERVED_BELOW
    passing: tuple[int, int] = _PASSING
    """The first and last port that the kernel hands out to connections for a while."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it.

    `directory` is the user's Jupyter config directory. `entries` are in the order in which Jupyter reads
    them: later ones count. `files` has the two JSON files of that directory by their names without ending,
    `ours` the SHA-256 of certificate and key that an earlier setup made. `certificates` and `keys` are by the
    paths that the config names. `matching` are the known hashes that the given password opens, `hash` is a
    new one of it.
    """

    ground: Ground
    home: str
    directory: str
    has_directory: bool
    entries: tuple[Entry, ...]
    files: Mapping[str, File]
    ours: Mapping[str, File]
    our_digests: Mapping[str, str | None]
    certificates: Mapping[str, File]
    keys: Mapping[str, int | None]
    journal: File
    ports: Ports
    matching: frozenset[str] = frozenset()
    hash: str = ""
    hash_kind: str = "argon2"
    """How that Jupyter makes hashes."""
    port_owner: str = ""
    port_process: str = ""
    """Who has the port that is asked for, and ` (pid N)` where that can be seen."""

    def shown(self, path: str) -> str:
        """A path as people write it."""
        home = self.home.rstrip("/") + "/"
        return f"~/{path[len(home) :]}" if len(home) > 1 and path.startswith(home) else path


def read_facts(report: Report, ground: Ground) -> Facts:
    """Read what `setup_look` and its program said. Raises ServerError `jupyter-failed`."""
    answer = _answer(report, ground)
    survey = read_survey(report)
    listeners, own = survey.listeners or {}, ground.uid
    return Facts(
        ground=ground,
        home=answer["home"],
        directory=answer["directory"],
        has_directory=answer["has_directory"],
        entries=tuple(
            Entry(entry["file"], entry["name"], entry["values"], entry.get("error", ""))
            for entry in answer["entries"]
        ),
        files={name: _file(facts, ground) for name, facts in answer["files"].items()},
        ours={name: File(facts["path"], None) for name, facts in answer["ours"].items()},
        our_digests={name: facts["sha256"] for name, facts in answer["ours"].items()},
        certificates={
            path: File(facts["path"], facts["text"] or None) for path, facts in answer["certificates"].items()
        },
        keys={path: facts["mode"] for path, facts in answer["keys"].items() if facts["readable"]},
        journal=_file(answer["journal"], ground),
        ports=Ports(
            # Where several have it, on different addresses, others count.
            taken=dict(
                sorted(((port, uid) for (_, port), uid in listeners.items()), key=lambda it: it[1] != own)
            ),
            reserved_below=_number(report.one("reserved"), _RESERVED_BELOW),
            passing=_range(report.one("passing")),
        ),
        matching=frozenset(answer.get("matching", ())),
        hash=answer.get("hash", ""),
        hash_kind=answer["kind"],
    )


def digest(text: str) -> str:
    """The SHA-256 of a text as it stands in a file."""
    return hashlib.sha256(text.encode()).hexdigest()


def _answer(report: Report, ground: Ground) -> dict[str, Any]:
    try:
        answer = json.loads(report.one("answer") or "")
    except ValueError:
        answer = {"error": "it said nothing"}
    if not isinstance(answer, dict) or "error" in answer:
        raise ServerError(
            "jupyter-failed",
            f"{ground.interpreter} on {ground.node} cannot tell how Jupyter is set up: {answer['error']}",
            f"try there: {posixpath.dirname(ground.interpreter)}/jupyter --paths",
        )
    return answer


def _file(facts: Mapping[str, Any], ground: Ground) -> File:
    if "error" in facts:
        raise ServerError(
            "jupyter-failed",
            f"{facts['path']} on {ground.node} cannot be read: {facts['error']}",
            "correct it or move it away, then try again; nothing was changed",
        )
    return File(facts["path"], facts["text"], facts["mode"], facts["link"])


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() else default


def _range(text: str | None) -> tuple[int, int]:
    numbers = [int(word) for word in (text or "").split() if word.isdigit()]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else _PASSING
