"""What a script found out on the remote, as values, and what follows about whose a socket is.

No I/O: `jtunnel.jupyter.script` runs the scripts. A token may go only to an address that `owned` or
`proven_address` says is this user's.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.errors import one_line
from jtunnel.jupyter.record import Record, RuntimeFile, node_names, parse_record, parse_runtime_file
from jtunnel.jupyter.script import Report
from jtunnel.jupyter.server import Server

LOOPBACK: Final = "127.0.0.1"
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
        takers = _TAKERS.get(target.host, (target.host, "::" if ":" in target.host else "0.0.0.0"))  # noqa: S104
        owners = [
            self.listeners[taker, target.port] for taker in takers if (taker, target.port) in self.listeners
        ]
        return bool(owners) and owners[0] == self.uid

    def proven_address(self, port: int) -> TcpAddress | None:
        """Where to reach our own listener on `port`: a loopback address if one will do.

        None where nobody of ours listens there. Unproven, it is 127.0.0.1.
        """
        if self.listeners is None:
            return TcpAddress(LOOPBACK, port)
        for host in (LOOPBACK, "::1", *(host for host, number in self.listeners if number == port)):
            # A wildcard is no address to connect to: another user may hold a loopback address beneath it.
            if host in ("0.0.0.0", "::"):  # noqa: S104  (compared, not bound)
                continue
            if self.owned(TcpAddress(host, port)):
                return TcpAddress(host, port)
        return None


def read_survey(report: Report) -> Survey:
    """Read a script's report; what a script did not say is empty."""
    uid = int(report.one("uid") or -1)
    processes: dict[int, tuple[str, int]] = {}
    for line in report.all("process"):
        pid, started, owner = line.split(" ")
        processes[int(pid)] = (started, int(owner))
    files = []
    for line in report.all("runtime"):
        pid, started, kind, digits = line.split(" ")
        processes[int(pid)] = (started, uid)
        files.append(parse_runtime_file(int(pid), started, kind, bytes.fromhex(digits)))
    return Survey(
        node=one_line(report.one("node") or ""),
        uid=uid,
        log=report.one("log") or "",
        processes=processes,
        listeners=_listeners(report, uid),
        sockets=dict(_socket(line, uid) for line in report.all("socket")),
        # The same directory may have been met by two names.
        runtime_files=tuple({file.pid: file for file in files if file is not None}.values()),
        record=parse_record(report.data("record")),
        token=(report.data("token") or b"").decode(errors="replace").strip(),
        roots=frozenset(report.all("root")),
        homes=frozenset(report.all("root_home")),
        names=node_names(report.all("name")),
        others=tuple(_records(report.all("other"))),
        boot=report.one("boot") or "",
    )


def _records(texts: list[str]) -> Iterator[Record]:
    for text in texts:
        with contextlib.suppress(ValueError):
            if (record := parse_record(bytes.fromhex(text))) is not None:
                yield record


def start_order(started: str) -> float:
    """A number that grows with start times of one node: clock ticks, or seconds where ps told the time."""
    ticks, _, _ = started.partition("@")
    if ticks.isdigit():
        return float(ticks)
    try:
        return time.mktime(time.strptime(started, "%a_%b_%d_%H:%M:%S_%Y"))
    except ValueError:
        return 0.0


def _listeners(report: Report, uid: int) -> dict[tuple[str, int], int] | None:
    source = report.one("listeners")
    if source is None:
        return None
    listeners = {}
    for line in report.all("listen"):
        local, owner = line.split(" ")
        listeners[_kernel_address(local)] = int(owner)
    for line in report.all("lsof"):
        host, _, port = line.rpartition(":")
        # lsof's `*` does not tell the family; both are this user's.
        for name in ("0.0.0.0", "::") if host == "*" else (host.strip("[]"),):  # noqa: S104
            listeners[name, int(port)] = uid
    return listeners


def _kernel_address(local: str) -> tuple[str, int]:
    """Read `0100007F:22B8` of /proc/net/tcp (proc(5)): 32-bit words in the byte order of the machine."""
    digits, _, port = local.partition(":")
    words = bytes.fromhex(digits)
    little = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    big_endian = words in (IPv4Address(LOOPBACK).packed, IPv6Address("::1").packed)
    data = words if big_endian else little
    return str(IPv4Address(data) if len(data) == 4 else _plain_v6(data)), int(port, 16)


def _plain_v6(data: bytes) -> str:
    address = IPv6Address(data)
    return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else str(address)


def _socket(line: str, uid: int) -> tuple[str, bool]:
    """Ours is a socket that we own, in a directory where nobody else could put another in its place."""
    mode, owner, dir_mode, dir_owner, path = line.split(" ", 4)
    others_write = dir_mode[5] == "w" or dir_mode[8] == "w"
    safe_place = dir_owner in (str(uid), "0") and (not others_write or dir_mode[9] in "tT")
    return path, mode.startswith("s") and owner == str(uid) and safe_place
