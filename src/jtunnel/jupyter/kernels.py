"""How many kernels a server has, and how many are at work. Asking does not count as activity."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jtunnel.errors import ServerError
from jtunnel.jupyter.probe import check_access
from jtunnel.remote import Remote
from jtunnel.service.http import ask
from jtunnel.service.server import Answer, Server, StrangerError


@dataclass(frozen=True, slots=True)
class Kernels:
    """Counts of a server's kernels: all, and those that run something."""

    total: int
    busy: int


async def ask_kernels(remote: Remote, server: Server, *, timeout_s: float) -> Kernels:
    """Ask `/api/kernels` with the token; the caller has proven the far end, and that it takes a token.

    Raises StrangerError where the token is refused or something else answers, and what `ask` raises.
    """
    # jupyter_server and the classic notebook alike: this query is passed over by what notes activity.
    path = f"{server.base_url}api/kernels?no_track_activity=1"
    response = await ask(remote, server, "GET", path, token=server.token, timeout_s=timeout_s)
    check_access(response, server)
    if response.status != 200 or not isinstance(response.document, list):
        raise StrangerError("jupyter-failed", f"what answers at {server.target} is not Jupyter")
    kernels = [kernel for kernel in response.document if isinstance(kernel, dict)]
    return Kernels(len(kernels), sum(kernel.get("execution_state") == "busy" for kernel in kernels))


async def with_busy(remote: Remote, server: Server, answer: Answer, *, timeout_s: float) -> Answer:
    """The answer to a probe with the count of its busy kernels; an idle server is not asked again.

    One that has just answered and does not tell this is not called lost for it. Raises ChannelError.
    """
    if not answer.kernels:
        return replace(answer, busy=answer.kernels)
    try:
        return replace(answer, busy=(await ask_kernels(remote, server, timeout_s=timeout_s)).busy)
    except ServerError:
        return answer
