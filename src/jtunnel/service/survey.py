"""What a script found out on the remote, as values, and what follows about whose a socket is.

No I/O: `jtunnel.service.script` runs the scripts. A token may go only to an address that `owned` or
`proven_address` says is this user's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.errors import one_line
from jtunnel.service.process import UNSEEN, Clock, Process, read_clock, read_processes, read_start
from jtunnel.service.record import Record, RuntimeFile, node_names, parse_record, parse_runtime_file
from jtunnel.service.script import Report
from jtunnel.service.server import Server
from jtunnel.service.sockets import (
    LOOPBACK,
    Place,
    read_held,
    read_inodes,
    read_listeners,
    read_socket,
    read_socket_owner,
)

__all__ = ["LOOPBACK", "Survey", "read_survey", "start_order"]

#: Which listening addresses would take a connection to an address, the most exact first.
_TAKERS: Final = {
    LOOPBACK: (LOOPBACK, "::ffff:127.0.0.1", "0.0.0.0", "::"),  # noqa: S104  (read, not bound)
    "::1": ("::1", "::"),
}


@dataclass(frozen=True, slots=True)
class Survey:
    """The facts of one script run.

    `processes` maps pid → (start time, uid) of those asked for that run. `listeners` maps (address,
    port) → uid; it is None where the remote cannot tell. `sockets` maps paths → proven ours or not.
    `roots` and `homes` are the wanted directory and the home, with symbolic links followed and not.
    `names` is what else the node is called; `others` are the profile's records on other nodes, newer than
    the one here. Both are left empty where the server recorded here runs. `boot` names the kernel's run,
    `-` where it has no name.
    `inodes` names the sockets that listen at a place, `held` those that a process holds; what is in neither
    could not be seen. `kept` are the records of all profiles on this node, by the profile's file name, and
    `away` those on other nodes, where they were asked for. `secret` is what `jtunnel adopt` was told:
    process, start time, token. `prefixes` is the directory of the wanted environment, links followed and not.
    """

    node: str
    uid: int
    log: str
    processes: dict[int, tuple[str, int]]
    listeners: dict[tuple[str, int], int] | None
    sockets: dict[str, bool]
    runtime_files: tuple[RuntimeFile, ...]
    record: Record | None
    token: str
    roots: frozenset[str]
    homes: frozenset[str]
    names: tuple[str, ...] = ()
    others: tuple[Record, ...] = ()
    boot: str = ""
    socket_owners: Mapping[str, int] = field(default_factory=dict)
    inodes: Mapping[Place | str, frozenset[str]] = field(default_factory=dict)
    held: Mapping[int, frozenset[str]] = field(default_factory=dict)
    details: Mapping[int, Process] = field(default_factory=dict)
    clock: Clock | None = None
    kept: Mapping[str, Record] = field(default_factory=dict)
    away: tuple[tuple[str, Record], ...] = ()
    secret: tuple[str, ...] = ()
    prefixes: frozenset[str] = frozenset()

    def is_elsewhere(self, server: Server) -> bool:
        """It is on another node, as far as names tell, and this is not that one under a new name.

        A renamed machine, or a container that was started anew, has the same boot or shows the process.
        `ln03` and `ln03.cluster` are one node; their addresses prove nothing, for many may share one.
        """
        names = sorted((server.host, self.node), key=len)
        same_name = names[0] == names[1] or names[1].startswith(f"{names[0]}.")
        _, _, boot = server.started.partition("@")
        same_boot = boot not in ("", "-") and boot == self.boot
        return not (same_name or same_boot or self.runs(server.pid, server.started))

    def runs(self, pid: int, started: str) -> bool:
        """That very process was alive, and is ours."""
        return self.processes.get(pid) == (started, self.uid)

    def owned(self, target: Address) -> bool | None:
        """Whoever listens at `target` is this user; None where the remote cannot tell."""
        if isinstance(target, UnixAddress):
            return self.sockets.get(target.path, False)
        if self.listeners is None:
            return None
        return self.owner(target) == self.uid

    def owner(self, target: Address) -> int | None:
        """The uid of whoever would take a connection to `target`; None where nobody is known."""
        if isinstance(target, UnixAddress):
            return self.socket_owners.get(target.path)
        listeners = self.listeners or {}
        return next((listeners[place] for place in _takers(target) if place in listeners), None)

    def proven_address(self, port: int, pid: int | None = None) -> TcpAddress | None:
        """Where to reach our own listener on `port`: a loopback address if one will do.

        None where nobody of ours, or not the process `pid`, listens there. Unproven, it is 127.0.0.1.
        """
        if self.listeners is None:
            return TcpAddress(LOOPBACK, port)
        for host in (LOOPBACK, "::1", *(host for host, number in self.listeners if number == port)):
            # A wildcard is no address to connect to: another user may hold a loopback address beneath it.
            if host in ("0.0.0.0", "::"):  # noqa: S104  (compared, not bound)
                continue
            target = TcpAddress(host, port)
            if self.owned(target) and (pid is None or self.holds(pid, target) is not False):
                return target
        return None

    def holds(self, pid: int, target: Address) -> bool | None:
        """Whether a connection to `target` goes to that very process; None where that cannot be seen."""
        held = self.held.get(pid)
        if held is None or not self.inodes:
            return None
        if isinstance(target, UnixAddress):
            return not held.isdisjoint(self.inodes.get(target.path, ()))
        taker = next((place for place in _takers(target) if place in self.inodes), None)
        return taker is not None and not held.isdisjoint(self.inodes[taker])

    def process(self, pid: int) -> Process:
        """What is known of a process."""
        return self.details.get(pid, UNSEEN)

    def known_token(self, pid: int, started: str) -> str:
        """The token that a person has told for an adopted server; empty where none was told."""
        same = self.secret[:2] == (str(pid), started)
        return self.secret[2] if same and len(self.secret) > 2 else ""


def read_survey(report: Report) -> Survey:
    """Read a script's report; what a script did not say is empty."""
    uid = int(report.one("uid") or -1)
    processes: dict[int, tuple[str, int]] = {}
    for line in report.all("process"):
        pid, started, owner = line.split(" ")
        processes[int(pid)] = (started, int(owner))
    files = []
    for line in report.all("runtime"):
        pid, started, kind, written, digits, path = line.split(" ", 5)
        processes[int(pid)] = (started, uid)
        file = parse_runtime_file(int(pid), started, kind, bytes.fromhex(digits))
        if file is not None:
            files.append(replace(file, path=path, written_s=float(written) if written.isdigit() else None))
    return Survey(
        node=one_line(report.one("node") or ""),
        uid=uid,
        log=report.one("log") or "",
        processes=processes,
        listeners=read_listeners(report, uid),
        sockets=dict(read_socket(line, uid) for line in report.all("socket")),
        socket_owners=dict(read_socket_owner(line) for line in report.all("socket")),
        # The same directory may have been met by two names; of two files, the newer one counts.
        runtime_files=tuple({file.pid: file for file in sorted(files, key=_age)}.values()),
        record=parse_record(report.data("record")),
        token=(report.data("token") or b"").decode(errors="replace").strip(),
        roots=frozenset(report.all("root")),
        homes=frozenset(report.all("root_home")),
        names=node_names(report.all("name")),
        others=tuple(_records(report.all("other"))),
        boot=report.one("boot") or "",
        inodes=read_inodes(report),
        held=read_held(report.all("holds")),
        details=read_processes(report),
        clock=read_clock(report),
        kept=dict(_named_records(report.all("kept"))),
        away=tuple(_named_records(report.all("away"))),
        secret=tuple((report.data("adopted") or b"").decode(errors="replace").replace("\n", " ").split()),
        prefixes=frozenset(report.all("prefix_wanted")),
    )


def _records(texts: list[str]) -> Iterator[Record]:
    for text in texts:
        with contextlib.suppress(ValueError):
            if (record := parse_record(bytes.fromhex(text))) is not None:
                yield record


def _named_records(lines: list[str]) -> Iterator[tuple[str, Record]]:
    for line in lines:
        name, _, digits = line.partition(" ")
        for record in _records([digits]):
            yield name, record


def _age(file: RuntimeFile) -> float:
    return file.written_s or 0.0


def _takers(target: TcpAddress) -> list[Place]:
    """The places whose listener would take a connection to `target`, the most exact first."""
    hosts = _TAKERS.get(target.host, (target.host, "::" if ":" in target.host else "0.0.0.0"))  # noqa: S104
    return [(host, target.port) for host in hosts]


def start_order(started: str) -> float:
    """A number that grows with start times of one node: clock ticks, or seconds where ps told the time."""
    ticks, _, _ = started.partition("@")
    return float(ticks) if ticks.isdigit() else read_start(started) or 0.0
