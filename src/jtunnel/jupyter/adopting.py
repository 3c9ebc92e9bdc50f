"""Adopts the server that a person names, by pid, port or address, and writes that down for the next time.

An address may bring the token of a server whose runtime file cannot be found. It is sent only to a port that
is shown to be this user's, and kept in a file of its own that nobody else can read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.config.profile import JupyterOptions, ServiceOptions
from jtunnel.errors import ConfigError, ServerError
from jtunnel.jupyter.introduction import introduce, meet, with_interface
from jtunnel.jupyter.listing import Scene, look_around
from jtunnel.jupyter.seen import Found
from jtunnel.remote import Remote
from jtunnel.service import sight
from jtunnel.service.keep import write_record
from jtunnel.service.process import UNSEEN
from jtunnel.service.record import Record
from jtunnel.service.script import run_script
from jtunnel.service.server import Server, StrangerError
from jtunnel.service.survey import LOOPBACK

_LOOK_S: Final = 60.0
#: Those of the greatest pid and port, and some more.
_DIGITS: Final = 12
_PORTS: Final = {"http": 80, "https": 443}
#: Where a page of Jupyter's own begins in the path of an address; what is before it is the base_url.
_PAGES: Final = frozenset(
    {
        "lab",
        "tree",
        "notebooks",
        "login",
        "logout",
        "doc",
        "api",
        "edit",
        "files",
        "nbclassic",
        "terminals",
        "view",
    }
)


@dataclass(frozen=True, slots=True)
class Named:
    """What a person named: `number` is a pid or a port, `target` where an address leads to on the remote."""

    number: int | None = None
    target: Address | None = None
    base_url: str = "/"
    token: str = ""
    secure: bool = False

    @property
    def place(self) -> TcpAddress | None:
        """The port that it may be, for all that the name says."""
        if self.number is not None:
            return TcpAddress(LOOPBACK, self.number) if 0 < self.number < 65536 else None
        return self.target if isinstance(self.target, TcpAddress) else None

    def __str__(self) -> str:
        return f"pid or port {self.number}" if self.number is not None else f"address {self.target}"


def parse_which(which: str) -> Named:
    """Read PID|PORT|URL. Raises ConfigError `usage`, which never repeats the text: a token may be in it."""
    if which.isascii() and which.isdigit() and len(which) <= _DIGITS:
        return Named(number=int(which))
    try:
        parts = urlsplit(which.strip())
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        parts, port = urlsplit(""), None
    token = parse_qs(parts.query).get("token", [""])[0]
    if not (which.isprintable() and token.isascii() and (not token or token.isprintable())):
        port = None
    segments = [segment for segment in parts.path.split("/") if segment]
    before = next((at for at, segment in enumerate(segments) if segment in _PAGES), len(segments))
    base_url = "/".join(["", *segments[:before], ""])
    if parts.scheme == "http+unix" and parts.netloc and unquote(parts.netloc).isprintable():
        return Named(target=UnixAddress(unquote(parts.netloc)), base_url=base_url, token=token)
    if port is None or not parts.hostname:
        raise ConfigError(
            "usage",
            "a server is named by its pid, its port or its address",
            "such as 4711, 9999 or 'http://localhost:9999/?token=…'; see them with: jtunnel servers",
        )
    return Named(
        target=TcpAddress(LOOPBACK, port), base_url=base_url, token=token, secure=parts.scheme == "https"
    )


async def adopt(remote: Remote, options: JupyterOptions, key: str, which: str) -> Server:
    """Use a server that runs on the node, now and from now on; also where the profile would choose another.

    Raises ConfigError `usage`, ServerError `jupyter-missing` (there is none, or several) or that of why it
    cannot be used, and ChannelError.
    """
    named = parse_which(which)
    scene = await look_around(remote, options, key)
    found = pick(scene, named, key)
    if found is None and (place := named.place) is not None:
        found = await _unknown_holder(remote, scene, place, key)
    if found is None:
        raise _nothing(scene, named, key)
    _check_port(found, options, key)
    server = await _met(remote, scene, found, named, key)
    record = Record(server, command=None, ready=True)
    # Else its runtime file says it, or our own token file.
    secret = server.token if found.file is None and server.origin == "adopted" else ""
    if not await write_record(remote, key, record, secret=secret, replace=True):
        raise ServerError(
            "jupyter-failed",
            f"the state record of {key} cannot be written on {scene.survey.node}",
            "check the quota and the permissions of your home directory there",
        )
    return server


def pick(scene: Scene, named: Named, key: str) -> Found | None:
    """The server that is meant; None where none is known. Raises ServerError where it may be several."""
    meant = [found for found in scene.servers if _is_meant(found, named)]
    if len(meant) > 1:
        pids = " and ".join(str(found.pid) for found in meant)
        raise ServerError(
            "jupyter-missing",
            f"{named} on {scene.survey.node} may mean any of pid {pids}",
            f"name it by what only one has, its pid, port or address: jtunnel servers {key}",
        )
    return meant[0] if meant else None


def _is_meant(found: Found, named: Named) -> bool:
    port = found.target.port if isinstance(found.target, TcpAddress) else None
    if named.number is not None:
        return named.number in (found.pid, port)
    if isinstance(named.target, TcpAddress):
        return port == named.target.port
    return found.target == named.target


def _check_port(found: Found, options: JupyterOptions, key: str) -> None:
    port = found.target.port if isinstance(found.target, TcpAddress) else None
    if options.remote_port not in (None, port) and found.target is not None:
        raise ServerError(
            "jupyter-missing",
            f"pid {found.pid} listens at {found.target}, and remote_port is {options.remote_port}",
            f"change or remove remote_port in [profiles.{key}.jupyter], then adopt it again",
        )


async def _met(remote: Remote, scene: Scene, found: Found, named: Named, key: str) -> Server:
    """The server, introduced; one without a runtime file by what its address says of it."""
    if found.file is not None or found.target is None or not named.target:
        try:
            return await meet(remote, scene.survey, found, key)
        except ServerError as error:
            advice = error.advice
            if found.file is None and isinstance(found.target, TcpAddress):
                address = f"http://{found.target}/?token=…"
                advice = f"name it by its address and its token: jtunnel adopt {key} '{address}'"
            message = f"pid {found.pid} on {scene.survey.node} cannot be used: {error.message}"
            raise ServerError(error.kind, message, advice or f"see jtunnel servers {key}") from None
    server = replace(found.server(scene.survey, key), base_url=named.base_url, secure=named.secure)
    server = replace(server, token=named.token or server.token)
    try:
        return await with_interface(remote, await introduce(remote, scene.survey, server))
    except StrangerError as error:
        raise ServerError(
            error.kind, error.message, "check the address and its token, as the server printed them"
        ) from None


async def _unknown_holder(remote: Remote, scene: Scene, target: TcpAddress, key: str) -> Found | None:
    """Whatever process of ours listens on that port, though it does not look like a Jupyter.

    Raises ServerError where that is another user's.
    """
    survey = scene.survey
    owner = survey.owner(target)
    if owner is not None and owner != survey.uid:
        report = await run_script(remote, "user", key, timeout_s=_LOOK_S, other=owner)
        raise ServerError(
            "jupyter-missing",
            f"port {target.port} on {survey.node} is {report.one('user') or owner}'s, not yours",
            f"see which servers are yours: jtunnel servers {key}",
        )
    seen = await sight.look(remote, key, None, timeout_s=_LOOK_S, options=ServiceOptions(port=target.port))
    address = seen.survey.proven_address(target.port)
    if seen.holder is None or address is None:
        return None
    pid, started = seen.holder
    return Found(pid, started, None, address, UNSEEN, problem="it has no runtime file that tells its token")


def _nothing(scene: Scene, named: Named, key: str) -> ServerError:
    return ServerError(
        "jupyter-missing",
        f"no Jupyter server of yours has {named} on {scene.survey.node}",
        f"see what runs there: jtunnel servers {key}",
    )
