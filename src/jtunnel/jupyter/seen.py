"""The Jupyter servers of this user on a node, from one look: where each is, whose, and why it is unusable.

Two things tell of one: its runtime file, which its process must bear out, and the process itself, whose file
may be gone, since `jupyter server list` on another node of the same home deletes it. No I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.errors import one_line
from jtunnel.service.process import Process
from jtunnel.service.record import RuntimeFile
from jtunnel.service.script import file_name
from jtunnel.service.server import Server
from jtunnel.service.survey import LOOPBACK, Survey

#: Clocks of file servers differ from those of nodes by less, and a file this much older is another process's.
_SKEW_S: Final = 300.0
_PROGRAMS: Final = frozenset({"lab", "notebook", "server", "nbclassic", "labhub", "singleuser"})
_MODULES: Final = frozenset({"jupyterlab", "notebook", "jupyter_server", "nbclassic", "jupyterhub"})


@dataclass(frozen=True, slots=True)
class Found:
    """One server. `file` is None where it is gone; `target` None where it cannot be told or is not its own.

    `started_for` is the file name of the profile that jtunnel started it for, empty where somebody else
    did; `used_by` are those of the profiles whose records point at it. `problem` is why it cannot be used,
    empty where nothing is known against it.
    """

    pid: int
    started: str
    file: RuntimeFile | None
    target: Address | None
    process: Process
    started_for: str = ""
    used_by: tuple[str, ...] = ()
    problem: str = ""

    @property
    def is_orphan(self) -> bool:
        """jtunnel started it, and nobody's record points at it."""
        return bool(self.started_for) and not self.used_by

    def server(self, survey: Survey, key: str) -> Server:
        """What is known of it before it is asked; only for one with a `target`."""
        assert self.target is not None
        own = self.started_for == file_name(key)
        file = self.file
        told = survey.known_token(self.pid, self.started) or (survey.token if own else "")
        return Server(
            target=self.target,
            base_url=file.base_url if file else "/",
            token=file.token if file else told,
            pid=self.pid,
            started=self.started,
            host=survey.node,
            version=file.version if file else None,
            root_dir=one_line(file.root_dir) if file else "",
            origin="started" if own else "adopted",
            password=file.password if file else False,
            log=one_line(self.process.output) or None,
            names=survey.names,
            environment=one_line(self.process.environment),
            secure=file.secure if file else False,
        )


def see(survey: Survey, key: str) -> list[Found]:
    """All servers that run here; those without a runtime file come last."""
    files = {file.pid: file for file in survey.runtime_files if not _is_stale(file, survey)}
    listed = [_listed(file, survey) for file in files.values()]
    return [*listed, *_unlisted(survey, set(files), file_name(key))]


def is_server(words: Sequence[str]) -> bool:
    """Whether a command line is that of a Jupyter server."""
    for word, after in zip(words, [*words[1:], ""], strict=False):
        name = word.rpartition("/")[2]
        if name == "-m" or name in ("jupyter", "ipython"):
            module, _, rest = after.partition(".")
            if module in _MODULES or (name != "-m" and after in _PROGRAMS) or rest == "singleuser":
                return True
        elif name.startswith(("jupyter-", "jupyterhub-")) and name.partition("-")[2] in _PROGRAMS:
            return True
    return False


def _is_stale(file: RuntimeFile, survey: Survey) -> bool:
    """It was written before the process began that has its number now."""
    began = survey.clock.time_of(file.started) if survey.clock else None
    return began is not None and file.written_s is not None and file.written_s < began - _SKEW_S


def _listed(file: RuntimeFile, survey: Survey) -> Found:
    target: Address | None
    problem = ""
    if file.sock:
        target = UnixAddress(file.sock)
        if not file.sock.startswith("/"):
            problem = f"its socket is known by a relative path, {file.sock}, only"
        elif survey.owned(target) is False:
            problem = f"its socket {file.sock} is not a socket of yours"
        elif survey.holds(file.pid, target) is False:
            problem = f"it does not listen at {target}, as {file.path or 'its runtime file'} says"
    else:
        target = survey.proven_address(file.port, file.pid)
        if target is None:
            problem = _port_problem(file, survey)
    return _found(file.pid, file.started, file, target, survey, problem)


def _port_problem(file: RuntimeFile, survey: Survey) -> str:
    source = file.path or "its runtime file"
    if not file.port:
        return f"{source} names no port"
    owner = survey.owner(TcpAddress(LOOPBACK, file.port))
    if owner is None or owner == survey.uid:
        return f"port {file.port}, which {source} names, is not a socket of yours that it listens on"
    return f"its port {file.port} is not a socket of yours, but of user {owner}"


def _unlisted(survey: Survey, listed: set[int], own: str) -> Iterator[Found]:
    """Processes that listen, and whose runtime file is gone, broken or stale."""
    for pid, process in survey.details.items():
        started, uid = survey.processes.get(pid, ("", -1))
        if pid in listed or uid != survey.uid or not is_server(process.words):
            continue
        target = _listens_at(pid, survey)
        if target is not None:
            found = _found(pid, started, None, target, survey, "")
            known = survey.known_token(pid, started) or (found.started_for == own and survey.token)
            problem = "" if known else "its runtime file is gone or broken, and its token is not known"
            yield _found(pid, started, None, target, survey, problem)


def _listens_at(pid: int, survey: Survey) -> Address | None:
    held = survey.held.get(pid, frozenset())
    places = [place for place, numbers in survey.inodes.items() if not held.isdisjoint(numbers)]
    paths = sorted(place for place in places if isinstance(place, str))
    if paths:
        return UnixAddress(paths[0])
    ports = sorted({place[1] for place in places if not isinstance(place, str)})
    return next((target for port in ports if (target := survey.proven_address(port, pid))), None)


def _found(
    pid: int, started: str, file: RuntimeFile | None, target: Address | None, survey: Survey, problem: str
) -> Found:
    process = survey.process(pid)
    pointing = {
        name: record
        for name, record in survey.kept.items()
        if record.server.host == survey.node and (record.server.pid, record.server.started) == (pid, started)
    }
    recorded = next((name for name, record in pointing.items() if record.server.origin == "started"), "")
    return Found(
        pid=pid,
        started=started,
        file=file,
        target=target,
        process=process,
        started_for=process.started_for or recorded,
        used_by=tuple(sorted(pointing)),
        problem=problem,
    )
