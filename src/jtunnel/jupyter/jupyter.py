"""A profile's Jupyter server as a service: the special knowledge of this folder behind the one interface."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ServerError
from jtunnel.jupyter import stop
from jtunnel.jupyter.find import find, missing_error
from jtunnel.jupyter.kernels import with_busy
from jtunnel.jupyter.plan import make_plan, make_request
from jtunnel.jupyter.probe import ask_version, probe
from jtunnel.jupyter.ready import wait_until_ready
from jtunnel.remote import Remote
from jtunnel.service.ground import Ground
from jtunnel.service.prepare import prepare
from jtunnel.service.proof import is_still_there
from jtunnel.service.record import Record
from jtunnel.service.search import ANY_WISH, Wish, search, usable_record
from jtunnel.service.server import Answer, Server
from jtunnel.service.service import Plan, Tell
from jtunnel.service.start import start
from jtunnel.service.survey import Survey


class Jupyter:
    """The Jupyter server of the profile `key`."""

    noun: Final = "Jupyter"
    kind: Final = "jupyter"

    def __init__(self, options: JupyterOptions, key: str) -> None:
        self.options = options
        self.key = self.name = key

    @property
    def is_bound_to_place(self) -> bool:
        """See `Startable`."""
        return self.options.remote_port is not None or self.options.listen == "socket"

    @property
    def may_start(self) -> bool:
        """See `Startable`."""
        return self.options.start != "never"

    async def find(self, remote: Remote, wish: Wish = ANY_WISH) -> Server | None:
        """See `Service`; how it chooses is `jtunnel.jupyter.find`'s."""
        return await find(remote, self.options, self.key, wish)

    async def start(self, remote: Remote, tell: Tell | None = None, wish: Wish = ANY_WISH) -> Server:
        """See `Service`."""
        return await start(remote, self, tell or _ignore, wish)

    async def probe(self, remote: Remote, server: Server, *, timeout_s: float) -> Answer:
        """See `Service`."""
        answer = await probe(remote, server, timeout_s=timeout_s)
        return await with_busy(remote, server, answer, timeout_s=timeout_s)

    async def is_still_there(self, remote: Remote, server: Server, *, timeout_s: float) -> bool:
        """See `Service`: `/api` is asked, which wants no token."""
        question = ask_version(remote, server, timeout_s=timeout_s / 2)
        return await is_still_there(remote, server, question, timeout_s=timeout_s)

    async def busy(self, remote: Remote, server: Server) -> int | None:
        """How many kernels are at work; None where it tells nobody without a password."""
        return await stop.busy_kernels(remote, server)

    async def stop(self, remote: Remote, server: Server) -> None:
        """See `Service`."""
        await stop.stop(remote, server, self.key)

    def url(self, server: Server, port: int, *, token: bool) -> str:
        """Its address, always spelled `localhost`: cookies depend on it."""
        scheme = "https" if server.secure else "http"
        url = f"{scheme}://localhost:{port}{server.path_for_browser}"
        return f"{url}?token={quote(server.token)}" if token and server.token else url

    def gone(self, server: Server, advice: str) -> ServerError:
        """See `Service`."""
        message = f"the Jupyter server on {server.host} is gone, and its kernels with it"
        if self.options.idle_stop_s and server.origin == "started":
            message += f"; idle_stop ends one that is unused for {self.options.idle_stop_s:g} s"
        return ServerError("server-gone", message, advice)

    def missing(self, survey: Survey) -> ServerError:
        """See `Startable`."""
        return missing_error(survey.node, self.options, self.key, [])

    async def search(self, remote: Remote, wish: Wish) -> Survey:
        """See `Startable`."""
        return await search(remote, self.options, self.key, wish, "jupyter")

    def usable_record(self, survey: Survey) -> Record | None:
        """See `Startable`."""
        return usable_record(survey, self.options)

    async def prepare(self, remote: Remote) -> Ground:
        """See `Startable`."""
        return await prepare(remote, make_request(self.options, self.key), self.key)

    def plan(self, ground: Ground) -> Plan:
        """See `Startable`."""
        return make_plan(ground, self.options, self.key)

    async def wait_until_ready(self, remote: Remote, server: Server) -> Server:
        """See `Startable`."""
        return await wait_until_ready(remote, server, self.key)


def _ignore(_step: str) -> None:
    pass
